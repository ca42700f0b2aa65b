# ruff: noqa: E501
"""Every configuration key of a broker that Kafka 3.9.1 or 4.3.0 defines, as a table.

A line holds: name, type, default (`-` none, `''` empty), what changes it at run time (`ro` nothing, `broker` each
broker's own value, `cluster` one for all as well) and what is valid (see kstore/config_def.py). Where the two
versions differ the default is 3.9's and what either takes is valid. `3` and `4` behind the mode mark a key that
only that version has, `i` one that it does not list. Facts of KafkaConfig.configDef and DynamicBrokerConfig; a
test holds them equal to the real ones.
"""

# Why a key has no effect here, said once at start for each that is set. "refused" stops the start instead.
REASONS = {
    "cluster": "it matters to a member of a cluster only, which zookeeper.connect makes",
    "cores": "partitions are recovered on all cores, and each task waits its own interval first",
    "later": "kstore does not do this yet",
    "loop": "one event loop does the work of these threads and queues",
    "magic": "kstore keeps records of format version 2 only and never converts them",
    "metrics": "kstore loads no reporters and keeps its own figures",
    "newgroups": "kstore has groups of the classic protocol only",
    "plugins": "kstore cannot load Java classes",
    "purgatory": "waiting requests are forgotten when they are answered",
    "quorum": "this broker is its own controller and the only voter",
    "quotas": "kstore has no quotas yet",
    "replication": "kstore does not do this between brokers yet",
    "security": "kstore has no authentication yet, and every listener is PLAINTEXT",
    "tiers": "kstore has no remote storage",
    "transactions": "kstore has no transactions yet",
    "unstable": "kstore offers no unfinished APIs",
    "zookeeper": "kstore speaks with ZooKeeper in its own way and has no need of it, or does not do it yet",
}

SECTIONS = {
    "honoured": """
advertised.listeners string - broker
alter.log.dirs.replication.quota.window.num int 11 ro 1..
alter.log.dirs.replication.quota.window.size.seconds int 1 ro 1..
auto.create.topics.enable boolean true ro
broker.id int -1 ro
broker.id.generation.enable boolean true ro,3
broker.rack string - ro
compression.gzip.level int -1 cluster -1|1..9
compression.lz4.level int 9 cluster 1..17
compression.type string producer cluster uncompressed|zstd|lz4|snappy|gzip|producer
compression.zstd.level int 3 cluster -131072..22
connections.max.idle.ms long 600000 ro
controller.listener.names string - ro
controller.quorum.bootstrap.servers list '' ro
controller.quorum.voters list '' ro
default.replication.factor int 1 ro
delete.topic.enable boolean true ro
fetch.max.bytes int 57671680 ro 1024..
follower.replication.throttled.rate long 9223372036854775807 cluster 0..
group.initial.rebalance.delay.ms int 3000 ro
group.max.session.timeout.ms int 1800000 ro
group.max.size int 2147483647 ro 1..
group.min.session.timeout.ms int 6000 ro
inter.broker.listener.name string - ro
leader.replication.throttled.rate long 9223372036854775807 cluster 0..
listener.security.protocol.map string SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT broker
listeners string PLAINTEXT://:9092 broker
log.cleaner.backoff.ms long 15000 cluster 0..
log.cleaner.dedupe.buffer.size long 134217728 cluster
log.cleaner.delete.retention.ms long 86400000 cluster 0..
log.cleaner.enable boolean true ro
log.cleaner.io.buffer.load.factor double 0.9 cluster
log.cleaner.io.buffer.size int 524288 cluster 0..
log.cleaner.io.max.bytes.per.second double 1.7976931348623157E308 cluster
log.cleaner.max.compaction.lag.ms long 9223372036854775807 cluster 1..
log.cleaner.min.cleanable.ratio double 0.5 cluster 0..1
log.cleaner.min.compaction.lag.ms long 0 cluster 0..
log.cleaner.threads int 1 cluster 0..
log.cleanup.policy list delete cluster compact|delete
log.dir string /tmp/kafka-logs ro
log.dirs string - ro
log.flush.interval.messages long 9223372036854775807 cluster 1..
log.flush.interval.ms long - cluster
log.flush.offset.checkpoint.interval.ms int 60000 ro 0..
log.flush.scheduler.interval.ms long 9223372036854775807 ro
log.flush.start.offset.checkpoint.interval.ms int 60000 ro 0..
log.index.interval.bytes int 4096 cluster 0..
log.index.size.max.bytes int 10485760 cluster 4..
log.message.timestamp.after.max.ms long 9223372036854775807 cluster 0..
log.message.timestamp.before.max.ms long 9223372036854775807 cluster 0..
log.message.timestamp.difference.max.ms long 9223372036854775807 cluster,3 0..
log.message.timestamp.type string CreateTime cluster CreateTime|LogAppendTime
log.preallocate boolean false cluster
log.retention.bytes long -1 cluster
log.retention.check.interval.ms long 300000 ro 1..
log.retention.hours int 168 ro
log.retention.minutes int - ro
log.retention.ms long - cluster
log.roll.hours int 168 ro 1..
log.roll.jitter.hours int 0 ro 0..
log.roll.jitter.ms long - cluster
log.roll.ms long - cluster
log.segment.bytes int 1073741824 cluster 14..
log.segment.delete.delay.ms long 60000 cluster 0..
max.connections int 2147483647 cluster 0..
max.connections.per.ip int 2147483647 cluster 0..
max.connections.per.ip.overrides string '' cluster
max.incremental.fetch.session.cache.slots int 1000 ro 0..
max.request.partition.size.limit int 2000 ro 1..
message.max.bytes int 1048588 cluster 0..
metadata.log.dir string - ro
metadata.log.max.record.bytes.between.snapshots long 20971520 ro 1..
min.insync.replicas int 1 cluster 1..
node.id int -1 ro
num.partitions int 1 ro 1..
num.replica.fetchers int 1 cluster
offset.metadata.max.bytes int 4096 ro
offsets.commit.required.acks short -1 ro,3
offsets.commit.timeout.ms int 5000 ro 1..
offsets.load.buffer.size int 5242880 ro 1..
offsets.retention.check.interval.ms long 600000 ro 1..
offsets.retention.minutes int 10080 ro 1..
offsets.topic.compression.codec int 0 ro
offsets.topic.num.partitions int 50 ro 1..
offsets.topic.replication.factor short 3 ro 1..
offsets.topic.segment.bytes int 104857600 ro 1..
process.roles list '' ro broker|controller
producer.id.expiration.check.interval.ms int 600000 ro,i 1..
producer.id.expiration.ms int 86400000 cluster 1..
queued.max.request.bytes long -1 ro
replica.alter.log.dirs.io.max.bytes.per.second long 9223372036854775807 cluster 1..
replica.fetch.backoff.ms int 1000 ro 0..
replica.fetch.max.bytes int 1048576 ro 0..
replica.fetch.min.bytes int 1 ro
replica.fetch.response.max.bytes int 10485760 ro 0..
replica.fetch.wait.max.ms int 500 ro
replica.high.watermark.checkpoint.interval.ms long 5000 ro
replica.lag.time.max.ms long 30000 ro
replica.selector.class string - ro
replica.socket.receive.buffer.bytes int 65536 ro
replica.socket.timeout.ms int 30000 ro
replication.quota.window.num int 11 ro 1..
replication.quota.window.size.seconds int 1 ro 1..
reserved.broker.max.id int 1000 ro,3 0..
security.inter.broker.protocol string PLAINTEXT ro PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL
socket.listen.backlog.size int 50 ro 1..
socket.receive.buffer.bytes int 102400 ro
socket.request.max.bytes int 104857600 ro 1..
socket.send.buffer.bytes int 102400 ro
zookeeper.connect string - ro,3
zookeeper.connection.timeout.ms int - ro,3
zookeeper.session.timeout.ms int 18000 ro,3
zookeeper.set.acl boolean false ro,3
zookeeper.ssl.cipher.suites list - ro,3
zookeeper.ssl.client.enable boolean false ro,3
zookeeper.ssl.crl.enable boolean false ro,3
zookeeper.ssl.enabled.protocols list - ro,3
zookeeper.ssl.endpoint.identification.algorithm string HTTPS ro,3
zookeeper.ssl.keystore.location string - ro,3
zookeeper.ssl.keystore.password password - ro,3
zookeeper.ssl.keystore.type string - ro,3
zookeeper.ssl.ocsp.enable boolean false ro,3
zookeeper.ssl.truststore.location string - ro,3
zookeeper.ssl.truststore.password password - ro,3
zookeeper.ssl.truststore.type string - ro,3
""",
    "refused": """
authorizer.class.name string '' ro
sasl.client.callback.handler.class class - ro
sasl.enabled.mechanisms list GSSAPI broker
sasl.jaas.config password - broker
sasl.kerberos.kinit.cmd string /usr/bin/kinit broker
sasl.kerberos.min.time.before.relogin long 60000 broker
sasl.kerberos.principal.to.local.rules list DEFAULT broker
sasl.kerberos.service.name string - broker
sasl.kerberos.ticket.renew.jitter double 0.05 broker
sasl.kerberos.ticket.renew.window.factor double 0.8 broker
sasl.login.callback.handler.class class - ro
sasl.login.class class - ro
sasl.login.connect.timeout.ms int - ro
sasl.login.read.timeout.ms int - ro
sasl.login.refresh.buffer.seconds short 300 broker
sasl.login.refresh.min.period.seconds short 60 broker
sasl.login.refresh.window.factor double 0.8 broker
sasl.login.refresh.window.jitter double 0.05 broker
sasl.login.retry.backoff.max.ms long 10000 ro
sasl.login.retry.backoff.ms long 100 ro
sasl.mechanism.controller.protocol string GSSAPI ro
sasl.mechanism.inter.broker.protocol string GSSAPI broker
sasl.oauthbearer.assertion.algorithm string RS256 ro,4 i:ES256|RS256
sasl.oauthbearer.assertion.claim.aud string - ro,4
sasl.oauthbearer.assertion.claim.exp.seconds int 300 ro,4 0..86400
sasl.oauthbearer.assertion.claim.iss string - ro,4
sasl.oauthbearer.assertion.claim.jti.include boolean false ro,4
sasl.oauthbearer.assertion.claim.nbf.seconds int 60 ro,4 0..3600
sasl.oauthbearer.assertion.claim.sub string - ro,4
sasl.oauthbearer.assertion.file string - ro,4
sasl.oauthbearer.assertion.private.key.file string - ro,4
sasl.oauthbearer.assertion.private.key.passphrase password - ro,4
sasl.oauthbearer.assertion.template.file string - ro,4
sasl.oauthbearer.client.credentials.client.id string - ro,4
sasl.oauthbearer.client.credentials.client.secret password - ro,4
sasl.oauthbearer.clock.skew.seconds int 30 ro
sasl.oauthbearer.expected.audience list - ro
sasl.oauthbearer.expected.issuer string - ro
sasl.oauthbearer.jwks.endpoint.refresh.ms long 3600000 ro
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms long 10000 ro
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms long 100 ro
sasl.oauthbearer.jwks.endpoint.url string - ro
sasl.oauthbearer.jwt.retriever.class class org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever ro,4
sasl.oauthbearer.jwt.validator.class class org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator ro,4
sasl.oauthbearer.scope string - ro,4
sasl.oauthbearer.scope.claim.name string scope ro
sasl.oauthbearer.sub.claim.name string sub ro
sasl.oauthbearer.token.endpoint.url string - ro
sasl.server.callback.handler.class class - ro
sasl.server.max.receive.size int 524288 ro
ssl.allow.dn.changes boolean false ro
ssl.allow.san.changes boolean false ro
ssl.cipher.suites list '' broker
ssl.client.auth string none broker required|requested|none
ssl.enabled.protocols list TLSv1.2,TLSv1.3 broker
ssl.endpoint.identification.algorithm string https broker
ssl.engine.factory.class class - broker
ssl.key.password password - broker
ssl.keymanager.algorithm string SunX509 broker
ssl.keystore.certificate.chain password - broker
ssl.keystore.key password - broker
ssl.keystore.location string - broker
ssl.keystore.password password - broker
ssl.keystore.type string JKS broker
ssl.principal.mapping.rules string DEFAULT ro
ssl.protocol string TLSv1.3 broker
ssl.provider string - broker
ssl.secure.random.implementation string - broker
ssl.trustmanager.algorithm string PKIX broker
ssl.truststore.certificates password - broker
ssl.truststore.location string - broker
ssl.truststore.password password - broker
ssl.truststore.type string JKS broker
""",
    "cores": """
log.initial.task.delay.ms long 30000 ro,i 0..
num.recovery.threads.per.data.dir int 1 cluster 1..
""",
    "later": """
cordoned.log.dirs list '' broker,4
log.dir.failure.timeout.ms long 30000 ro 1..
max.connection.creation.rate int 2147483647 cluster 0..
""",
    "loop": """
background.threads int 10 cluster 1..
group.coordinator.append.linger.ms int 10 ro -1..
group.coordinator.background.threads int 2 ro,4 1..
group.coordinator.threads int 1 ro 1..
num.io.threads int 8 cluster 1..
num.network.threads int 3 cluster 1..
num.replica.alter.log.dirs.threads int - ro
queued.max.requests int 500 ro 1..
""",
    "magic": """
log.message.downconversion.enable boolean true cluster,3
log.message.format.version string 3.0-IV1 ro,3 @version
""",
    "metrics": """
auto.include.jmx.reporter boolean true ro,3
kafka.metrics.polling.interval.secs int 10 ro 1..
kafka.metrics.reporters list '' ro
metric.reporters list '' cluster
metrics.num.samples int 2 ro 1..
metrics.recording.level string INFO ro
metrics.sample.window.ms long 30000 ro 1..
telemetry.max.bytes int 1048576 ro 1..
""",
    "newgroups": """
group.consumer.assignment.interval.ms int 1000 cluster,4 0..
group.consumer.assignors list org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor ro
group.consumer.heartbeat.interval.ms int 5000 ro 1..
group.consumer.max.assignment.interval.ms int 15000 ro,4 0..
group.consumer.max.heartbeat.interval.ms int 15000 ro 1..
group.consumer.max.session.timeout.ms int 60000 ro 1..
group.consumer.max.size int 2147483647 ro 1..
group.consumer.migration.policy string disabled ro,i i:DISABLED|DOWNGRADE|UPGRADE|BIDIRECTIONAL
group.consumer.min.assignment.interval.ms int 0 ro,4 0..
group.consumer.min.heartbeat.interval.ms int 5000 ro 1..
group.consumer.min.session.timeout.ms int 45000 ro 1..
group.consumer.regex.refresh.interval.ms int 600000 ro,4,i 10000..
group.consumer.session.timeout.ms int 45000 ro 1..
group.coordinator.cached.buffer.max.bytes int 1048588 cluster,4 524288..
group.coordinator.new.enable boolean false ro,3,i
group.coordinator.rebalance.protocols list classic ro classic|consumer|share|streams|unknown
group.share.assignment.interval.ms int 1000 cluster,4 0..
group.share.assignors list simple ro,4
group.share.delivery.count.limit int 5 ro 2..10
group.share.enable boolean false ro,3,i
group.share.heartbeat.interval.ms int 5000 ro 1..
group.share.initialize.retry.interval.ms int 30000 ro,4,i 1..
group.share.max.assignment.interval.ms int 15000 ro,4 0..
group.share.max.delivery.count.limit int 10 ro,4 5..25
group.share.max.groups short 10 ro,3 1..100
group.share.max.heartbeat.interval.ms int 15000 ro 1..
group.share.max.partition.max.record.locks int 4000 ro,4 2000..10000
group.share.max.record.lock.duration.ms int 60000 ro 30000..3600000
group.share.max.session.timeout.ms int 60000 ro 1..
group.share.max.share.sessions int 2000 ro,4 1..
group.share.max.size short 200 ro 1..1000
group.share.min.assignment.interval.ms int 0 ro,4 0..
group.share.min.delivery.count.limit int 2 ro,4 2..5
group.share.min.heartbeat.interval.ms int 5000 ro 1..
group.share.min.partition.max.record.locks int 100 ro,4 100..2000
group.share.min.record.lock.duration.ms int 15000 ro 1000..30000
group.share.min.session.timeout.ms int 45000 ro 1..
group.share.partition.max.record.locks int 200 ro 100..10000
group.share.persister.class.name string org.apache.kafka.server.share.persister.DefaultStatePersister ro,4,i
group.share.record.lock.duration.ms int 30000 ro 1000..3600000
group.share.session.timeout.ms int 45000 ro 1..
group.streams.assignment.interval.ms int 1000 cluster,4 0..
group.streams.heartbeat.interval.ms int 5000 ro,4 1..
group.streams.initial.rebalance.delay.ms int 3000 ro,4 0..
group.streams.max.assignment.interval.ms int 15000 ro,4 0..
group.streams.max.heartbeat.interval.ms int 15000 ro,4 1..
group.streams.max.session.timeout.ms int 60000 ro,4 1..
group.streams.max.size int 2147483647 ro,4 1..
group.streams.max.standby.replicas int 2 ro,4 0..
group.streams.min.assignment.interval.ms int 0 ro,4 0..
group.streams.min.heartbeat.interval.ms int 5000 ro,4 1..
group.streams.min.session.timeout.ms int 45000 ro,4 1..
group.streams.num.standby.replicas int 0 ro,4 0..
group.streams.session.timeout.ms int 45000 ro,4 1..
share.coordinator.append.linger.ms int -1 ro,4 -1..
share.coordinator.cached.buffer.max.bytes int 1048588 cluster,4 524288..
share.coordinator.cold.partition.snapshot.interval.ms int 300000 ro,4,i 1..
share.coordinator.load.buffer.size int 5242880 ro,4 1..
share.coordinator.snapshot.update.records.per.snapshot int 500 ro,4 0..500
share.coordinator.state.topic.compression.codec int 0 ro,4
share.coordinator.state.topic.min.isr short 2 ro,4 1..
share.coordinator.state.topic.num.partitions int 50 ro,4 1..
share.coordinator.state.topic.prune.interval.ms int 300000 ro,4,i 1..
share.coordinator.state.topic.replication.factor short 3 ro,4 1..
share.coordinator.state.topic.segment.bytes int 104857600 ro,4 1..
share.coordinator.threads int 1 ro,4 1..
share.coordinator.write.timeout.ms int 5000 ro,4 1..
share.fetch.purgatory.purge.interval.requests int 1000 ro,4
""",
    "plugins": """
alter.config.policy.class.name class - ro
config.providers list '' ro,4
create.topic.policy.class.name class - ro
""",
    "purgatory": """
delete.records.purgatory.purge.interval.requests int 1 ro
fetch.purgatory.purge.interval.requests int 1000 ro
producer.purgatory.purge.interval.requests int 1000 ro
""",
    "quorum": """
broker.heartbeat.interval.ms int 2000 ro
broker.session.timeout.ms int 9000 ro
control.plane.listener.name string - ro,3
controller.performance.always.log.threshold.ms long 2000 ro,4,i 0..
controller.performance.sample.period.ms long 60000 ro,4,i 100..
controller.quorum.append.linger.ms int 25 ro
controller.quorum.auto.join.enable boolean false ro,4
controller.quorum.election.backoff.max.ms int 1000 ro
controller.quorum.election.timeout.ms int 1000 ro
controller.quorum.fetch.max.bytes int 1048576 ro,4 1..
controller.quorum.fetch.snapshot.max.bytes int 1048576 ro,4 1..
controller.quorum.fetch.timeout.ms int 2000 ro
controller.quorum.request.timeout.ms int 2000 ro
controller.quorum.retry.backoff.ms int 20 ro
controller.socket.timeout.ms int 30000 ro
early.start.listeners string - ro
eligible.leader.replicas.enable boolean false ro,3
initial.broker.registration.timeout.ms int 60000 ro
internal.metadata.delete.delay.millis long 60000 ro,4,i
internal.metadata.log.segment.bytes int - ro,4,i
internal.metadata.max.batch.size.in.bytes int 8388608 ro,4,i
metadata.log.max.snapshot.interval.ms long 3600000 ro 0..
metadata.log.segment.bytes int 1073741824 ro 12..
metadata.log.segment.min.bytes int 8388608 ro,3,i 12..
metadata.log.segment.ms long 604800000 ro
metadata.max.idle.interval.ms int 500 ro 0..
metadata.max.retention.bytes long 104857600 ro
metadata.max.retention.ms long 604800000 ro
server.max.startup.time.ms long 9223372036854775807 ro,i 0..
unclean.leader.election.interval.ms long 300000 ro,i 1..
""",
    "quotas": """
client.quota.callback.class class - ro
controller.quota.window.num int 11 ro 1..
controller.quota.window.size.seconds int 1 ro 1..
quota.window.num int 11 ro 1..
quota.window.size.seconds int 1 ro 1..
""",
    "cluster": """
auto.leader.rebalance.enable boolean true ro
controlled.shutdown.enable boolean true ro
controlled.shutdown.max.retries int 3 ro,3
controlled.shutdown.retry.backoff.ms long 5000 ro,3
inter.broker.protocol.version string 3.9-IV0 ro,3 @version
leader.imbalance.check.interval.seconds long 300 ro 1..
leader.imbalance.per.broker.percentage int 10 ro,3
unclean.leader.election.enable boolean false cluster
""",
    "replication": """
request.timeout.ms int 30000 ro
socket.connection.setup.timeout.max.ms long 30000 ro
socket.connection.setup.timeout.ms long 10000 ro
""",
    "security": """
connection.failed.authentication.delay.ms int 100 ro 0..
connections.max.reauth.ms long 0 ro
delegation.token.expiry.check.interval.ms long 3600000 ro 1..
delegation.token.expiry.time.ms long 86400000 ro 1..
delegation.token.master.key password - ro,3
delegation.token.max.lifetime.ms long 604800000 ro 1..
delegation.token.secret.key password - ro
password.encoder.cipher.algorithm string AES/CBC/PKCS5Padding ro,3
password.encoder.iterations int 4096 ro,3 1024..
password.encoder.key.length int 128 ro,3 8..
password.encoder.keyfactory.algorithm string - ro,3
password.encoder.old.secret password - ro,3
password.encoder.secret password - ro,3
principal.builder.class class org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder broker
security.providers string - ro
""",
    "tiers": """
follower.fetch.last.tiered.offset.enable boolean false cluster,4
log.local.retention.bytes long -2 cluster -2..
log.local.retention.ms long -2 cluster -2..
remote.fetch.max.wait.ms int 500 cluster 1..
remote.list.offsets.request.timeout.ms long 30000 cluster,4 1..
remote.log.index.file.cache.total.size.bytes long 1073741824 cluster 1..
remote.log.index.file.cache.ttl.ms long 900000 ro,4,i -1..
remote.log.manager.copier.thread.pool.size int -1 cluster
remote.log.manager.copy.max.bytes.per.second long 9223372036854775807 cluster 1..
remote.log.manager.copy.quota.window.num int 11 ro 1..
remote.log.manager.copy.quota.window.size.seconds int 1 ro 1..
remote.log.manager.expiration.thread.pool.size int -1 cluster
remote.log.manager.fetch.max.bytes.per.second long 9223372036854775807 cluster 1..
remote.log.manager.fetch.quota.window.num int 11 ro 1..
remote.log.manager.fetch.quota.window.size.seconds int 1 ro 1..
remote.log.manager.follower.thread.pool.size int 2 cluster,4 1..
remote.log.manager.task.interval.ms long 30000 ro 1..
remote.log.manager.task.retry.backoff.max.ms long 30000 ro,i 1..
remote.log.manager.task.retry.backoff.ms long 500 ro,i 1..
remote.log.manager.task.retry.jitter double 0.2 ro,i 0..0.5
remote.log.manager.thread.pool.size int 10 ro 1..
remote.log.metadata.custom.metadata.max.bytes int 128 ro 0..
remote.log.metadata.manager.class.name string org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager ro @nonempty
remote.log.metadata.manager.class.path string - ro
remote.log.metadata.manager.impl.prefix string rlmm.config. ro @nonempty
remote.log.metadata.manager.listener.name string - ro @nonempty
remote.log.reader.max.pending.tasks int 100 ro 1..
remote.log.reader.threads int 10 cluster 1..
remote.log.storage.manager.class.name string - ro @nonempty
remote.log.storage.manager.class.path string - ro
remote.log.storage.manager.impl.prefix string rsm.config. ro @nonempty
remote.log.storage.system.enable boolean false ro
""",
    "transactions": """
add.partitions.to.txn.retry.backoff.max.ms int 100 ro,4 0..
add.partitions.to.txn.retry.backoff.ms int 20 ro,4 1..
transaction.abort.timed.out.transaction.cleanup.interval.ms int 10000 ro 1..
transaction.max.timeout.ms int 900000 ro 1..
transaction.partition.verification.enable boolean true cluster
transaction.remove.expired.transaction.cleanup.interval.ms int 3600000 ro 1..
transaction.state.log.load.buffer.size int 5242880 ro 1..
transaction.state.log.min.isr int 2 ro 1..
transaction.state.log.num.partitions int 50 ro 1..
transaction.state.log.replication.factor short 3 ro 1..
transaction.state.log.segment.bytes int 104857600 ro 1..
transaction.two.phase.commit.enable boolean false ro,4
transactional.id.expiration.ms int 604800000 ro 1..
""",
    "unstable": """
unstable.api.versions.enable boolean false ro,i
unstable.feature.versions.enable boolean false ro,i
""",
    "zookeeper": """
zookeeper.clientCnxnSocket string - ro,3
zookeeper.max.in.flight.requests int 10 ro,3 1..
zookeeper.metadata.migration.enable boolean false ro,3
zookeeper.metadata.migration.min.batch.size int 200 ro,3,i 1..
zookeeper.ssl.protocol string TLSv1.2 ro,3
""",
}
