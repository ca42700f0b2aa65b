import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fills topics of a real Kafka with Kafka's own Java producer, and reads them back as JSON with its consumer.
 * Called by make_golden.py: {@code java -cp JARS GoldenClient.java write|epochs|old|read BOOTSTRAP [TOPIC...]}.
 */
public final class GoldenClient {
    private static final long START = 1_700_000_000_000L;
    private static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[1];
        switch (arguments[0]) {
            case "write":
                write(arguments[2].equals("4"));
                break;
            case "epochs":
                plainBatches("epochs", "none", 2, 3);
                break;
            case "old":
                for (String topic : Arrays.copyOfRange(arguments, 2, arguments.length)) {
                    plainBatches(topic, "none", 2, 3);
                    plainBatches(topic, "gzip", 1, 3);
                }
                break;
            case "compact":
                compacted();
                break;
            case "read":
                read();
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void write(boolean newer) throws Exception {
        create("plain", 2, Map.of());
        plain();
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            create(codec, 1, Map.of());
            compressed(codec);
        }
        create("idempotent", 2, Map.of());
        idempotent();
        create("transactions", 2, Map.of());
        transactions();
        // Kafka 4 refuses segments below 1 MiB, so there only time rolls them.
        create("segments", 1, newer
            ? Map.of("segment.ms", "60000", "index.interval.bytes", "256")
            : Map.of("segment.bytes", "4096", "index.interval.bytes", "256", "segment.ms", "100000"));
        segments();
        create("append-time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        plainBatches("append-time", "none", 2, 4);
        plainBatches("append-time", "gzip", 1, 4);
        create("recompressed", 1, Map.of("compression.type", "lz4"));
        plainBatches("recompressed", "zstd", 2, 20);
        create("shortened", 1, Map.of("segment.ms", "60000"));
        plainBatches("shortened", "none", 6, 10);
        shorten();
        create("compacted", 1, Map.of("cleanup.policy", "compact", "segment.ms", "60000",
            "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "86400000"));
        create("epochs", 1, Map.of());
        plainBatches("epochs", "none", 1, 3);
    }

    private static void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        Map<String, String> all = new HashMap<>(configs);
        all.put("retention.ms", "-1"); // the records are of 2023 on purpose
        all.put("file.delete.delay.ms", "1000");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(all))).all().get();
        }
    }

    /** A producer that sends when it is flushed: what is sent between two flushes is one batch a partition. */
    private static KafkaProducer<byte[], byte[]> producer(String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("enable.idempotence", "false");
        properties.put("acks", "all");
        properties.put("linger.ms", "60000");
        properties.put("batch.size", "1000000");
        properties.put("delivery.timeout.ms", "120000");
        for (int i = 0; i < settings.length; i += 2)
            properties.put(settings[i], settings[i + 1]);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    private static ProducerRecord<byte[], byte[]> record(
        String topic, int partition, long timestamp, String key, String value, Header... headers
    ) {
        return new ProducerRecord<>(topic, partition, timestamp, bytes(key), bytes(value), List.of(headers));
    }

    private static void plain() {
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            producer.send(record("plain", 0, START, "key", "value"));
            producer.flush();
            producer.send(record("plain", 0, START + 5, null, "null key"));
            producer.send(record("plain", 0, START + 3, "null value, earlier timestamp", null));
            producer.send(record("plain", 0, START + 4, null, null));
            producer.send(record("plain", 0, START + 6, "", ""));
            producer.flush();
            producer.send(record("plain", 0, START + 10, "headers", "three",
                new RecordHeader("h", bytes("1")), new RecordHeader("h", bytes("2")), new RecordHeader("null", (byte[]) null)));
            producer.send(record("plain", 0, START + 11, "headers", "empty", new RecordHeader("", new byte[0])));
            producer.send(record("plain", 0, START + 12, "schl\u00fcssel", "\uac12 \ud83d\ude80",
                new RecordHeader("\uba38\ub9ac", bytes("\u20ac"))));
            producer.flush();
            Random random = new Random(1);
            for (int i = 0; i < 50; i++) {
                byte[] value = new byte[random.nextInt(300)];
                random.nextBytes(value);
                producer.send(new ProducerRecord<>("plain", 1, START + i, bytes("k" + i), value));
                if (i % 7 == 0)
                    producer.flush();
            }
        }
    }

    private static void compressed(String codec) {
        try (KafkaProducer<byte[], byte[]> producer = producer("compression.type", codec, "max.request.size", "4000000")) {
            for (int i = 0; i < 40; i++) {
                producer.send(record(codec, 0, START + i, "key-" + i, "value " + "ab".repeat(i),
                    new RecordHeader("n", bytes(Integer.toString(i)))));
                if (i == 0 || i % 12 == 0)
                    producer.flush();
            }
            producer.flush();
            producer.send(record(codec, 0, START + 100, null, "large and regular ".repeat(8000)));
            producer.flush();
            byte[] noise = new byte[5000];
            new Random(2).nextBytes(noise);
            producer.send(new ProducerRecord<>(codec, 0, START + 101, null, noise));
            producer.send(record(codec, 0, START + 102, null, null));
        }
    }

    private static void idempotent() {
        for (int run = 0; run < 2; run++) {
            try (KafkaProducer<byte[], byte[]> producer = producer("enable.idempotence", "true")) {
                for (int i = 0; i < 24; i++) {
                    producer.send(record("idempotent", i % 2, START + i, null, "run " + run + " record " + i));
                    if (i % 4 == 3)
                        producer.flush();
                }
            }
        }
    }

    private static void transactions() throws Exception {
        KafkaProducer<byte[], byte[]> plain = producer();
        KafkaProducer<byte[], byte[]> one = producer("enable.idempotence", "true", "transactional.id", "one");
        KafkaProducer<byte[], byte[]> two =
            producer("enable.idempotence", "true", "transactional.id", "two", "transaction.timeout.ms", "900000");
        one.initTransactions();
        two.initTransactions();
        send(plain, "outside", 3);
        one.beginTransaction();
        send(one, "one: aborted", 3);
        two.beginTransaction();
        send(two, "two: committed", 2);
        send(one, "one: aborted too", 2);
        one.abortTransaction();
        send(plain, "outside while two is open", 1);
        two.commitTransaction();
        one.beginTransaction();
        send(one, "one: committed", 2);
        one.commitTransaction();
        one.beginTransaction();
        one.send(record("transactions", 1, START + 1, "k", "other partition"));
        send(one, "one: aborted again", 2);
        one.abortTransaction();
        two.beginTransaction();
        send(two, "two: left open", 2);
        send(plain, "outside, above the last stable offset", 2);
        plain.close();
        one.close();
        two.close(Duration.ZERO); // without an end of its transaction
    }

    private static void send(KafkaProducer<byte[], byte[]> producer, String value, int count) {
        for (int i = 0; i < count; i++)
            producer.send(record("transactions", 0, START + i, null, value + " " + i));
        producer.flush();
    }

    /** Rolls by size where that is allowed, and by time; with headers so that index entries fall unevenly. */
    private static void segments() {
        try (KafkaProducer<byte[], byte[]> producer = producer("enable.idempotence", "true")) {
            Random random = new Random(3);
            for (int batch = 0; batch < 60; batch++) {
                long hop = batch / 15 * 200_000L;
                for (int i = 0; i <= random.nextInt(4); i++)
                    producer.send(record("segments", 0, START + hop + batch * 10 - i, "k", "v".repeat(random.nextInt(300))));
                producer.flush();
            }
        }
    }

    private static void plainBatches(String topic, String codec, int batches, int records) {
        try (KafkaProducer<byte[], byte[]> producer = producer("compression.type", codec)) {
            for (int batch = 0; batch < batches; batch++) {
                for (int i = 0; i < records; i++)
                    producer.send(record(topic, 0, START + batch * 100_000L + i, "k" + i, codec + " " + batch + " " + i));
                producer.flush();
            }
        }
    }

    private static void shorten() throws Exception {
        TopicPartition partition = new TopicPartition("shortened", 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(25))).all().get();
        }
    }

    /**
     * What the cleaner leaves: batches with holes, a batch without records (the last one of its producer, kept for
     * the sequence numbers) and a tombstone with its delete horizon. The last batch is in the open segment.
     */
    private static void compacted() {
        try (KafkaProducer<byte[], byte[]> producer = producer("enable.idempotence", "true")) {
            producer.send(record("compacted", 0, START - 100_000L, "k0", "of a producer that says no more"));
        }
        try (KafkaProducer<byte[], byte[]> producer = producer("enable.idempotence", "true", "compression.type", "lz4")) {
            for (int batch = 0; batch < 6; batch++) {
                for (int i = 0; i < 5; i++)
                    producer.send(record("compacted", 0, START + batch * 100_000L,
                        i == 2 ? "only in " + batch : "k" + i, i == 3 && batch == 4 ? null : "value " + batch));
                producer.flush();
            }
        }
    }

    private static void read() throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        ObjectNode topics = mapper.createObjectNode();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            List<String> names = new ArrayList<>(admin.listTopics().names().get());
            Map<String, TopicDescription> all = new TreeMap<>(admin.describeTopics(names).allTopicNames().get());
            for (TopicDescription topic : all.values()) {
                ObjectNode node = topics.putObject(topic.name());
                node.put("topic_id", topic.topicId().toString());
                ObjectNode partitions = node.putObject("partitions");
                for (int i = 0; i < topic.partitions().size(); i++)
                    readPartition(new TopicPartition(topic.name(), i), partitions.putObject(Integer.toString(i)));
            }
        }
        System.out.println(mapper.writeValueAsString(topics));
    }

    private static KafkaConsumer<byte[], byte[]> consumer(TopicPartition partition, String isolation) {
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
            Map.of("bootstrap.servers", bootstrap, "isolation.level", isolation, "fetch.max.wait.ms", "20"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        return consumer;
    }

    private static void readPartition(TopicPartition partition, ObjectNode node) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(partition, "read_uncommitted")) {
            node.put("log_start_offset", consumer.beginningOffsets(List.of(partition)).get(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            node.put("log_end_offset", end);
            ArrayNode records = node.putArray("records");
            for (ConsumerRecord<byte[], byte[]> record : poll(consumer, partition, end))
                describe(record, records.addObject());
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(partition, "read_committed")) {
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            node.put("last_stable_offset", end);
            ArrayNode offsets = node.putArray("committed_offsets");
            for (ConsumerRecord<byte[], byte[]> record : poll(consumer, partition, end))
                offsets.add(record.offset());
        }
    }

    private static List<ConsumerRecord<byte[], byte[]>> poll(
        KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long end
    ) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        while (consumer.position(partition) < end)
            consumer.poll(Duration.ofMillis(100)).records(partition).forEach(records::add);
        return records;
    }

    private static void describe(ConsumerRecord<byte[], byte[]> record, ObjectNode node) throws Exception {
        node.put("offset", record.offset());
        node.put("timestamp", record.timestamp());
        node.put("timestamp_type", record.timestampType().id);
        node.put("leader_epoch", record.leaderEpoch().orElse(-1));
        node.put("key", text(record.key()));
        if (record.value() == null || record.value().length <= 400) {
            node.put("value", text(record.value()));
        } else {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(record.value());
            node.put("value_size", record.value().length);
            node.put("value_sha256", text(digest));
        }
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers())
            headers.addArray().add(header.key()).add(text(header.value()));
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
