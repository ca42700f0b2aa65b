import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What the scenarios of options share: a broker behind a relay, clients that are tested and helpers that are not, and
 * checks that throw. {@code Scene(relay port, broker port)}; the broker advertises the relay's port.
 */
final class Scene implements AutoCloseable {
    static final int PATIENCE_MS = 30_000;

    interface Condition {
        boolean holds() throws Exception;
    }

    interface Act {
        void play() throws Exception;
    }

    final Relay relay;
    final String bootstrap;
    final Admin admin;
    private KafkaProducer<String, String> helper;

    Scene(int relayPort, int brokerPort) throws Exception {
        relay = new Relay(relayPort, brokerPort);
        bootstrap = "127.0.0.1:" + relayPort;
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "helper"));
    }

    String topic(int partitions) throws Exception {
        String name = "topic-" + UUID.randomUUID();
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        // Kafka's metadata and its replica manager learn of a topic one after the other.
        for (int i = 0; i < partitions; i++) {
            TopicPartition partition = new TopicPartition(name, i);
            until(() -> offset(partition, OffsetSpec.latest()) == 0, partition + " has a leader");
        }
        return name;
    }

    static String group() {
        return "group-" + UUID.randomUUID();
    }

    long offset(TopicPartition partition, OffsetSpec which) throws Exception {
        try {
            return admin.listOffsets(Map.of(partition, which)).partitionResult(partition).get().offset();
        } catch (ExecutionException notYet) {
            return -1;
        }
    }

    long end(String topic) throws Exception {
        return offset(new TopicPartition(topic, 0), OffsetSpec.latest());
    }

    /** The committed offset of partition 0, or null. */
    Long committed(String group, String topic) throws Exception {
        OffsetAndMetadata found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
            .get(new TopicPartition(topic, 0));
        return found == null ? null : found.offset();
    }

    /** A producer under test; settings are key, value, key, value. */
    KafkaProducer<String, String> producer(String... settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "client.id", "tested"));
        all.putAll(pairs(settings));
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    /** A consumer under test; settings are key, value, key, value. Its close() waits for a fetch that is on its way. */
    KafkaConsumer<String, String> consumer(String... settings) {
        Map<String, Object> all = new HashMap<>(
            Map.of("bootstrap.servers", bootstrap, "client.id", "tested", "fetch.max.wait.ms", "50"));
        all.putAll(pairs(settings));
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    static Map<String, String> pairs(String... words) {
        Map<String, String> found = new HashMap<>();
        for (int i = 0; i < words.length; i += 2)
            found.put(words[i], words[i + 1]);
        return found;
    }

    /** Writes one batch, by a producer that is not under test. */
    void write(String topic, int partition, String value) throws Exception {
        if (helper == null)
            helper = producer("client.id", "helper", "linger.ms", "0");
        helper.send(new ProducerRecord<>(topic, partition, null, value)).get();
    }

    /** Values 0, 1, 2... in turn over the partitions, each a batch of its own. */
    void writeNumbers(String topic, int partitions, int count) throws Exception {
        for (int i = 0; i < count; i++)
            write(topic, i % partitions, Integer.toString(i));
    }

    /** The values of partition 0 as they lie in the log. */
    List<String> read(String topic) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer = consumer("client.id", "helper")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 0);
            return poll(consumer, (int) end(topic));
        }
    }

    /** Polls until {@code count} values have come. */
    static List<String> poll(KafkaConsumer<String, String> consumer, int count) throws Exception {
        List<String> found = new ArrayList<>();
        until(() -> {
            add(found, consumer.poll(Duration.ofMillis(found.size() < count ? 200 : 0)));
            return found.size() >= count;
        }, count + " records, found " + found);
        return found;
    }

    static void add(List<String> found, ConsumerRecords<String, String> records) {
        for (ConsumerRecord<String, String> record : records)
            found.add(record.value());
    }

    static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }

    static void same(Object expected, Object found, String what) {
        check(expected.equals(found), what + ": expected " + expected + ", found " + found);
    }

    /** What {@code act} is refused with; for a future's failure, the cause. */
    static Throwable refusal(Act act, Class<? extends Throwable> wanted) {
        try {
            act.play();
        } catch (Throwable thrown) {
            Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            check(wanted.isInstance(cause), "expected " + wanted.getSimpleName() + ", found " + cause);
            return cause;
        }
        throw new AssertionError("expected " + wanted.getSimpleName() + ", and nothing was refused");
    }

    static void until(Condition condition, String what) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!condition.holds()) {
            check(System.currentTimeMillis() < deadline, "waited in vain: " + what);
            Thread.sleep(5);
        }
    }

    @Override
    public void close() throws Exception {
        relay.release();
        if (helper != null)
            helper.close();
        admin.close();
        relay.close();
    }
}
