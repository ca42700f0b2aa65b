import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.errors.NetworkException;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * What each option of a producer does, seen at the wire and in the log:
 * {@code ProducerOptions SCENARIO RELAY_PORT BROKER_PORT [more words]}. Run by ToolServer, for each Kafka version.
 */
public final class ProducerOptions {
    private static final String[] NOT_IDEMPOTENT = {"enable.idempotence", "false"};

    private static Scene scene;
    private static Relay relay;

    public static void main(String[] words) throws Exception {
        try (Scene made = new Scene(Integer.parseInt(words[1]), Integer.parseInt(words[2]))) {
            scene = made;
            relay = made.relay;
            switch (words[0]) {
                case "bootstrap" -> bootstrap(words[3]);
                case "dns" -> dns(words[3], words[4]);
                case "acks" -> acks();
                case "memory" -> memory();
                case "compression" -> compression(words[3], words[4]);
                case "idempotence" -> idempotence();
                case "conflicts" -> conflicts();
                case "in-flight" -> inFlight(Integer.parseInt(words[3]));
                case "retries" -> retries();
                case "batches" -> batches(words[3], words[4]);
                case "linger" -> linger(words[3]);
                default -> throw new IllegalArgumentException(words[0]);
            }
        }
    }

    private static String[] and(String[] some, String... more) {
        String[] all = Arrays.copyOf(some, some.length + more.length);
        System.arraycopy(more, 0, all, some.length, more.length);
        return all;
    }

    private static ProducerRecord<String, String> record(String topic, Object value) {
        return new ProducerRecord<>(topic, 0, null, value.toString());
    }

    /** So long that with batch.size=0 no second record has room in its batch. */
    private static String number(int i) {
        return String.format("%040d", i);
    }

    private static List<String> numbers(int count) {
        return IntStream.range(0, count).mapToObj(ProducerOptions::number).collect(Collectors.toList());
    }

    /** One that does not answer is passed over; if none answers, a send has its end. */
    private static void bootstrap(String nobody) throws Exception {
        String topic = scene.topic(1);
        try (KafkaProducer<String, String> producer =
            scene.producer("bootstrap.servers", nobody + "," + scene.bootstrap)) {
            Scene.same(0L, producer.send(record(topic, "x")).get().offset(), "the offset");
        }
        try (KafkaProducer<String, String> producer =
            scene.producer(and(NOT_IDEMPOTENT, "bootstrap.servers", nobody, "max.block.ms", "500"))) {
            Scene.refusal(() -> producer.send(record(topic, "x")).get(), TimeoutException.class);
        }
    }

    /**
     * {@code both} stands for two addresses, and behind the first is nobody; {@code alias} stands for the first alone,
     * whose canonical name is {@code both}.
     */
    private static void dns(String both, String alias) throws Exception {
        String topic = scene.topic(1);
        String all = "use_all_dns_ips";
        String canonical = "resolve_canonical_bootstrap_servers_only";
        for (String[] works : new String[][] {{both, all}, {alias, canonical}})
            try (KafkaProducer<String, String> producer = named(works[0], works[1], "30000")) {
                producer.send(record(topic, "x")).get();
            }
        try (KafkaProducer<String, String> producer = named(alias, all, "500")) {
            Scene.refusal(() -> producer.send(record(topic, "x")).get(), TimeoutException.class);
        }
        Scene.same(2L, scene.end(topic), "records");
    }

    private static KafkaProducer<String, String> named(String name, String lookup, String maxBlockMs) {
        String server = name + ":" + scene.bootstrap.split(":")[1];
        return scene.producer(and(NOT_IDEMPOTENT, "bootstrap.servers", server, "client.dns.lookup", lookup,
            "max.block.ms", maxBlockMs));
    }

    private static void acks() throws Exception {
        String topic = scene.topic(1);
        long expected = 0;
        for (String acks : List.of("0", "1", "all")) {
            int before = relay.requests(Relay.PRODUCE).size();
            int answered = relay.answers(Relay.PRODUCE).size();
            try (KafkaProducer<String, String> producer = scene.producer(and(NOT_IDEMPOTENT, "acks", acks))) {
                RecordMetadata told = producer.send(record(topic, acks)).get();
                boolean asks = !acks.equals("0");
                Scene.same(asks, told.hasOffset(), "acks=" + acks + ": an offset is told");
                Scene.check(!asks || told.offset() == expected, "acks=" + acks + ": offset " + told.offset());
                long number = ++expected;
                Scene.until(() -> scene.end(topic) == number, "acks=" + acks + ": it arrives");
                List<Relay.Request> sent = relay.requests(Relay.PRODUCE);
                Scene.same(before + 1, sent.size(), "acks=" + acks + ": requests");
                Scene.same(acks.equals("all") ? -1 : Integer.parseInt(acks), sent.get(before).acks(), "acks asked for");
                Scene.same(asks ? 1 : 0, relay.answers(Relay.PRODUCE).size() - answered, "acks=" + acks + ": answers");
            }
        }
        Scene.same(List.of("0", "1", "all"), scene.read(topic), "the log");
    }

    /** While no answer comes, a producer takes what its memory holds and then no more; afterwards it goes on. */
    private static void memory() throws Exception {
        String value = "v".repeat(1000);
        for (int memory : new int[] {40_000, 120_000}) {
            String topic = scene.topic(1);
            relay.hold(Relay.PRODUCE);
            try (KafkaProducer<String, String> producer = scene.producer("buffer.memory", Integer.toString(memory),
                "batch.size", "4000", "max.block.ms", "400", "linger.ms", "0")) {
                producer.partitionsFor(topic);
                List<Future<RecordMetadata>> taken = new ArrayList<>();
                Throwable refused = null;
                while (refused == null) {
                    Scene.check(taken.size() < 1000, "no end of the memory");
                    Future<RecordMetadata> sent = producer.send(record(topic, value));
                    // A refusal is there at once; a record that was taken waits for its answer.
                    if (sent.isDone())
                        refused = Scene.refusal(sent::get, TimeoutException.class);
                    else
                        taken.add(sent);
                }
                int bytes = taken.size() * value.length();
                Scene.check(bytes > memory / 2 && bytes <= memory, memory + " of memory took " + bytes);
                relay.release();
                for (Future<RecordMetadata> each : taken)
                    each.get();
                Scene.same((long) taken.size(), producer.send(record(topic, "last")).get().offset(), "what goes on");
            }
        }
    }

    /** One batch that can be compressed well. */
    private static void compression(String topic, String codec) throws Exception {
        try (KafkaProducer<String, String> producer =
            scene.producer("compression.type", codec, "linger.ms", "60000", "batch.size", "1000000")) {
            for (int i = 0; i < 200; i++)
                producer.send(record(topic, "the same ".repeat(20)));
        }
        List<String> read = scene.read(topic);
        Scene.check(read.size() == 200 && read.stream().allMatch("the same ".repeat(20)::equals), "what is read");
    }

    /** The broker has appended a batch, its answer is lost, the producer sends the batch again. */
    private static void idempotence() throws Exception {
        String once = scene.topic(1);
        relay.loseAnswers(Relay.PRODUCE, 1);
        try (KafkaProducer<String, String> producer = scene.producer("enable.idempotence", "true")) {
            Scene.same(0L, producer.send(record(once, "a")).get().offset(), "offset of what was sent twice");
            Scene.same(1L, producer.send(record(once, "b")).get().offset(), "offset of the next");
        }
        Scene.same(List.of("a", "b"), scene.read(once), "the log of an idempotent producer");

        String twice = scene.topic(1);
        relay.loseAnswers(Relay.PRODUCE, 1);
        try (KafkaProducer<String, String> producer = scene.producer(and(NOT_IDEMPOTENT, "acks", "all"))) {
            producer.send(record(twice, "a")).get();
            producer.send(record(twice, "b")).get();
        }
        Scene.same(List.of("a", "a", "b"), scene.read(twice), "the log of one that is not");

        String ordered = scene.topic(1);
        relay.loseEvery(17);
        try (KafkaProducer<String, String> producer = scene.producer("enable.idempotence", "true", "batch.size", "0",
            "max.in.flight.requests.per.connection", "5", "retry.backoff.ms", "5", "reconnect.backoff.ms", "5")) {
            for (int i = 0; i < 100; i++)
                producer.send(record(ordered, number(i)));
            producer.flush();
        }
        relay.loseEvery(Integer.MAX_VALUE);
        Scene.same(numbers(100), scene.read(ordered), "the log, five in flight and every 17th answer lost");
    }

    /** What idempotence needs and does not get is refused before anything is sent. */
    private static void conflicts() {
        for (String[] conflict : new String[][] {
            {"acks", "1"}, {"acks", "0"}, {"retries", "0"}, {"max.in.flight.requests.per.connection", "6"}}) {
            Throwable refused = Scene.refusal(
                () -> scene.producer(and(conflict, "enable.idempotence", "true")).close(Duration.ZERO),
                KafkaException.class);
            Throwable cause = refused instanceof ConfigException ? refused : refused.getCause();
            Scene.check(cause instanceof ConfigException, conflict[0] + ": " + refused);
        }
    }

    private static void inFlight(int limit) throws Exception {
        String topic = scene.topic(1);
        relay.hold(Relay.PRODUCE);
        try (KafkaProducer<String, String> producer = scene.producer(and(NOT_IDEMPOTENT, "batch.size", "0",
            "max.in.flight.requests.per.connection", Integer.toString(limit)))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 30; i++)
                sent.add(producer.send(record(topic, number(i))));
            Scene.until(() -> relay.outstanding(Relay.PRODUCE) == limit, limit + " requests without an answer");
            relay.slow(15);
            relay.release();
            for (Future<RecordMetadata> each : sent)
                each.get();
        }
        Scene.same(30, relay.requests(Relay.PRODUCE).size(), "requests");
        Scene.same(limit, relay.mostOutstanding(Relay.PRODUCE), "requests without an answer, at most");
        Scene.same(numbers(30), scene.read(topic), "the log");
    }

    /** Each answer is lost: so many times is it sent again, and then the program is told. */
    private static void retries() throws Exception {
        for (int retries : new int[] {0, 2}) {
            String topic = scene.topic(1);
            int before = relay.requests(Relay.PRODUCE).size();
            relay.loseAnswers(Relay.PRODUCE, 100);
            try (KafkaProducer<String, String> producer = scene.producer(
                and(NOT_IDEMPOTENT, "retries", Integer.toString(retries), "retry.backoff.ms", "5"))) {
                Scene.refusal(() -> producer.send(record(topic, "x")).get(), NetworkException.class);
                relay.loseAnswers(Relay.PRODUCE, 0);
            }
            Scene.same(retries + 1, relay.requests(Relay.PRODUCE).size() - before, "requests, retries=" + retries);
            Scene.same(retries + 1L, scene.end(topic), "copies in the log, retries=" + retries);
        }
        String topic = scene.topic(1);
        relay.loseAnswers(Relay.PRODUCE, 2);
        try (KafkaProducer<String, String> producer =
            scene.producer(and(NOT_IDEMPOTENT, "retries", "2", "retry.backoff.ms", "5"))) {
            Scene.same(2L, producer.send(record(topic, "x")).get().offset(), "the third attempt");
        }
    }

    /** 100 records of some 100 bytes; full batches leave at once, the last when the producer is closed. */
    private static void batches(String topic, String size) throws Exception {
        try (KafkaProducer<String, String> producer = scene.producer("batch.size", size, "linger.ms", "60000")) {
            for (int i = 0; i < 100; i++)
                producer.send(record(topic, "v".repeat(100)));
        }
    }

    private static void linger(String topic) throws Exception {
        try (KafkaProducer<String, String> producer = scene.producer("linger.ms", "1200")) {
            producer.partitionsFor(topic);
            long start = System.nanoTime() / 1_000_000;
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 3; i++)
                sent.add(producer.send(record(topic, i)));
            for (Future<RecordMetadata> each : sent)
                each.get();
            List<Relay.Request> requests = relay.requests(Relay.PRODUCE);
            Scene.same(1, requests.size(), "requests");
            long waited = requests.get(0).atMs() - start;
            Scene.check(waited >= 1100, "it left after " + waited + " ms");
        }
        // Who fills a batch does not wait for the time; what does not fill one does.
        try (KafkaProducer<String, String> producer = scene.producer("linger.ms", "60000", "batch.size", "2000")) {
            Future<RecordMetadata> first = producer.send(record(topic, "v".repeat(1500)));
            Future<RecordMetadata> second = producer.send(record(topic, "v".repeat(1500)));
            Scene.until(first::isDone, "the full batch has left");
            Scene.check(!second.isDone(), "the batch that is not full has left, too");
        }
    }
}
