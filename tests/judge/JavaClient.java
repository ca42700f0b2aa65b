import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What a Java program does with a broker, each as a command that throws where the broker does not behave:
 * {@code JavaClient COMMAND BOOTSTRAP TOPIC [key=value client settings]}. Run by ToolServer, for each Kafka version.
 */
public final class JavaClient {
    private static final long START = 1_700_000_000_000L;
    private static final int COUNT = 1000;

    private static String bootstrap;
    private static String topic;
    private static final Map<String, Object> SETTINGS = new HashMap<>();

    public static void main(String[] words) throws Exception {
        bootstrap = words[1];
        topic = words[2];
        SETTINGS.clear();
        for (int i = 3; i < words.length; i++)
            SETTINGS.put(words[i].split("=", 2)[0], words[i].split("=", 2)[1]);
        switch (words[0]) {
            case "roundtrip":
                roundtrip();
                break;
            case "offsets":
                offsets();
                break;
            case "tail":
                tail();
                break;
            case "invalid":
                invalid();
                break;
            case "admin":
                admin();
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
        System.out.println("well");
    }

    private static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }

    private static KafkaProducer<byte[], byte[]> producer() {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", "20"));
        settings.putAll(SETTINGS);
        settings.remove("isolation.level");
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer() {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        if (SETTINGS.containsKey("isolation.level"))
            settings.put("isolation.level", SETTINGS.get("isolation.level"));
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static ProducerRecord<byte[], byte[]> record(int number) {
        byte[] value = number % 10 == 9 ? null : new byte[number % 400];
        RecordHeader header = new RecordHeader("n", Integer.toString(number).getBytes(StandardCharsets.UTF_8));
        byte[] key = ("key " + number).getBytes(StandardCharsets.UTF_8);
        return new ProducerRecord<>(topic, number % 2, START + number, key, value, List.of(header));
    }

    /** Records, with keys, headers, nulls and timestamps, in two partitions, and read again as they were. */
    private static void roundtrip() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < COUNT; i++)
                sent.add(producer.send(record(i)));
            producer.flush();
            boolean knowsOffsets = !"0".equals(SETTINGS.get("acks"));
            for (int i = 0; i < COUNT; i++)
                check(!knowsOffsets || sent.get(i).get().offset() == i / 2, "offset of record " + i);
        }
        List<TopicPartition> partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
        int[] next = {0, 1};
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.currentTimeMillis() + 30_000;
            while ((next[0] < COUNT || next[1] < COUNT) && System.currentTimeMillis() < deadline)
                for (ConsumerRecord<byte[], byte[]> found : consumer.poll(Duration.ofMillis(200))) {
                    ProducerRecord<byte[], byte[]> wanted = record(next[found.partition()]);
                    check(java.util.Arrays.equals(found.key(), wanted.key()), "key at " + found.offset());
                    check(java.util.Arrays.equals(found.value(), wanted.value()), "value at " + found.offset());
                    check(found.headers().equals(wanted.headers()), "headers at " + found.offset());
                    check(found.timestamp() == wanted.timestamp(), "timestamp at " + found.offset());
                    check(found.offset() == next[found.partition()] / 2, "offset " + found.offset());
                    next[found.partition()] += 2;
                }
        }
        check(next[0] == COUNT && next[1] == COUNT + 1, "read " + next[0] + " and " + next[1]);
    }

    /** Offsets by timestamp, beginnings and ends, and a position in the middle. */
    private static void offsets() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            for (int i = 0; i < COUNT; i++)
                producer.send(record(i));
        }
        TopicPartition partition = new TopicPartition(topic, 1);
        List<TopicPartition> one = List.of(partition);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            check(consumer.beginningOffsets(one).get(partition) == 0, "beginning");
            check(consumer.endOffsets(one).get(partition) == COUNT / 2, "end");
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, START + 500)).get(partition);
            check(found.offset() == 250 && found.timestamp() == START + 501, "by timestamp: " + found);
            check(consumer.offsetsForTimes(Map.of(partition, START + COUNT)).get(partition) == null, "after the last");
            consumer.assign(one);
            consumer.seek(partition, 499);
            List<ConsumerRecord<byte[], byte[]>> last = new ArrayList<>();
            long deadline = System.currentTimeMillis() + 30_000;
            while (last.isEmpty() && System.currentTimeMillis() < deadline)
                last.addAll(consumer.poll(Duration.ofMillis(200)).records(partition));
            check(last.size() == 1 && last.get(0).timestamp() == START + 999, "from the middle");
            check(consumer.partitionsFor(topic).size() == 2, "partitions");
        }
    }

    /** A consumer that waits at the end gets what comes, and at once. */
    private static void tail() throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(); KafkaProducer<byte[], byte[]> producer = producer()) {
            consumer.assign(List.of(partition));
            consumer.seekToEnd(List.of(partition));
            consumer.position(partition);
            for (int i = 0; i < 40; i += 2) {
                producer.send(record(i));
                producer.flush();
                int found = 0;
                long deadline = System.currentTimeMillis() + 10_000;
                while (found == 0 && System.currentTimeMillis() < deadline)
                    found = consumer.poll(Duration.ofMillis(1000)).count();
                check(found == 1, "record " + i + " came " + found + " times");
            }
        }
    }

    /** Only the record that breaks the rule is refused by name (KIP-467); the batch with it. */
    private static void invalid() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            Future<RecordMetadata> good = producer.send(record(0));
            Future<RecordMetadata> bad = producer.send(new ProducerRecord<>(topic, 0, null, new byte[1]));
            producer.flush();
            try {
                bad.get();
                throw new AssertionError("a record without a key was taken by a compacted topic");
            } catch (java.util.concurrent.ExecutionException refused) {
                check(refused.getCause() instanceof InvalidRecordException, refused.getCause().toString());
            }
            try {
                good.get();
                throw new AssertionError("a batch was taken in part");
            } catch (java.util.concurrent.ExecutionException refused) {
                check(refused.getCause() != null, "no cause");
            }
        }
    }

    private static void admin() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "77777777"))))
                .all().get();
            try {
                admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get();
                throw new AssertionError("a topic was made twice");
            } catch (java.util.concurrent.ExecutionException refused) {
                check(refused.getCause() instanceof TopicExistsException, refused.getCause().toString());
            }
            until(() -> admin.listTopics().names().get().contains(topic), "the topic is listed");
            Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            check(config.get("retention.ms").value().equals("77777777"), "a configuration that was set");
            AlterConfigOp change =
                new AlterConfigOp(new ConfigEntry("retention.ms", "88888888"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
            until(() -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms")
                .value().equals("88888888"), "a configuration that was changed");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            until(() -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3,
                "three partitions");
            try (KafkaProducer<byte[], byte[]> producer = producer()) {
                for (int i = 0; i < 20; i += 2)
                    producer.send(record(i));
            }
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
            check(admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get()
                .offset() == 4, "the beginning after DeleteRecords");
            check(admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get()
                .offset() == 9, "the largest timestamp");
            int broker = admin.describeCluster().nodes().get().iterator().next().id();
            check(admin.describeLogDirs(Collections.singleton(broker)).allDescriptions().get().get(broker).values()
                .stream().anyMatch(dir -> dir.replicaInfos().containsKey(partition)), "log directories");
            admin.deleteTopics(List.of(topic)).all().get();
            until(() -> !admin.listTopics().names().get().contains(topic), "the topic is gone");
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void until(Condition condition, String what) throws Exception {
        long deadline = System.currentTimeMillis() + 20_000;
        while (!condition.holds()) {
            check(System.currentTimeMillis() < deadline, "waited in vain: " + what);
            Thread.sleep(20);
        }
    }
}
