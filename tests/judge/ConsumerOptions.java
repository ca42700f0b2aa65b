import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.consumer.RetriableCommitFailedException;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InconsistentGroupProtocolException;
import org.apache.kafka.common.errors.InvalidGroupIdException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidSessionTimeoutException;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * What each option of a consumer and of a topic does, seen at the wire and in what is read:
 * {@code ConsumerOptions SCENARIO RELAY_PORT BROKER_PORT [more words]}. Run by ToolServer, for each Kafka version.
 */
public final class ConsumerOptions {
    private static final String ASSIGNORS = "org.apache.kafka.clients.consumer.";

    private static Scene scene;
    private static Relay relay;

    public static void main(String[] words) throws Exception {
        try (Scene made = new Scene(Integer.parseInt(words[1]), Integer.parseInt(words[2]))) {
            scene = made;
            relay = made.relay;
            switch (words[0]) {
                case "bootstrap" -> bootstrap(words[3]);
                case "min-bytes" -> minBytes();
                case "max-wait" -> maxWait();
                case "partition-bytes" -> partitionBytes();
                case "fetch-bytes" -> fetchBytes();
                case "poll-records" -> pollRecords();
                case "group" -> group();
                case "heartbeats" -> heartbeats();
                case "session" -> session();
                case "auto-commit" -> autoCommit();
                case "reset" -> reset();
                case "reset-gone" -> resetGone();
                case "assignors" -> assignors();
                case "async-fails" -> asyncFails();
                case "sync-fails" -> syncFails();
                case "transactions" -> transactions(words[3], words[4]);
                case "partitions" -> partitions();
                case "replicas" -> replicas();
                case "lag" -> lag();
                default -> throw new IllegalArgumentException(words[0]);
            }
        }
    }

    private static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(Integer::toString).collect(Collectors.toList());
    }

    /** A consumer of partitions that it is told, from their beginning. */
    private static KafkaConsumer<String, String> reader(String topic, int partitions, String... settings) {
        KafkaConsumer<String, String> consumer = scene.consumer(settings);
        List<TopicPartition> all =
            IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).collect(Collectors.toList());
        consumer.assign(all);
        all.forEach(each -> consumer.seek(each, 0));
        return consumer;
    }

    /** A member of a group that reads from the beginning and commits nothing by itself. */
    private static KafkaConsumer<String, String> member(String group, List<String> topics, String... settings) {
        Map<String, String> all = new HashMap<>(Map.of("group.id", group, "auto.offset.reset", "earliest",
            "enable.auto.commit", "false", "session.timeout.ms", "10000", "heartbeat.interval.ms", "200"));
        all.putAll(Scene.pairs(settings));
        String[] words = all.entrySet().stream().flatMap(each -> Stream.of(each.getKey(), each.getValue()))
            .toArray(String[]::new);
        KafkaConsumer<String, String> consumer = scene.consumer(words);
        consumer.subscribe(topics);
        return consumer;
    }

    private static void pollOnce(KafkaConsumer<String, String> consumer) {
        consumer.poll(Duration.ofMillis(20));
    }

    private static void bootstrap(String nobody) throws Exception {
        String topic = scene.topic(1);
        scene.writeNumbers(topic, 1, 1);
        try (KafkaConsumer<String, String> consumer =
            reader(topic, 1, "bootstrap.servers", nobody + "," + scene.bootstrap)) {
            Scene.same(List.of("0"), Scene.poll(consumer, 1), "what is read");
        }
        try (KafkaConsumer<String, String> consumer = reader(topic, 1, "bootstrap.servers", nobody)) {
            Scene.refusal(() -> consumer.partitionsFor(topic, Duration.ofMillis(500)), TimeoutException.class);
        }
    }

    // How much a fetch brings, and when

    /** A fetch that finds too little waits; it is answered with all that is there as soon as that is enough. */
    private static void minBytes() throws Exception {
        String topic = scene.topic(1);
        KafkaConsumer<String, String> patient =
            reader(topic, 1, "fetch.min.bytes", "10000", "fetch.max.wait.ms", "25000");
        try {
            awaitFetch(patient);
            scene.write(topic, 0, "little");
            Scene.check(patient.poll(Duration.ofMillis(700)).isEmpty(), "too little was answered");
            long start = System.nanoTime();
            scene.write(topic, 0, "v".repeat(10_000));
            Scene.same(2, Scene.poll(patient, 2).size(), "records");
            Scene.check(System.nanoTime() - start < 15_000_000_000L, "enough was not answered at once");
            Scene.same(1, relay.answers(Relay.FETCH).size(), "answers to fetches");
        } finally {
            patient.close(Duration.ZERO); // or it waits for the fetch that is on its way
        }
        // The default is one byte.
        String another = scene.topic(1);
        int before = relay.answers(Relay.FETCH).size();
        KafkaConsumer<String, String> hasty = reader(another, 1, "fetch.max.wait.ms", "25000");
        try {
            awaitFetch(hasty);
            scene.write(another, 0, "x");
            Scene.same(List.of("x"), Scene.poll(hasty, 1), "what is read");
            Scene.check(relay.answers(Relay.FETCH).get(before).waitedMs() < 15_000, "one byte was not enough");
        } finally {
            hasty.close(Duration.ZERO);
        }
    }

    private static void awaitFetch(KafkaConsumer<String, String> consumer) throws Exception {
        int before = relay.requests(Relay.FETCH).size();
        Scene.until(() -> {
            pollOnce(consumer);
            return relay.requests(Relay.FETCH).size() > before;
        }, "a fetch is on its way");
    }

    /** What is less than fetch.min.bytes is answered when the time is over. */
    private static void maxWait() throws Exception {
        String topic = scene.topic(1);
        scene.write(topic, 0, "little");
        for (int wait : new int[] {100, 900}) {
            int before = relay.answers(Relay.FETCH).size();
            try (KafkaConsumer<String, String> consumer =
                reader(topic, 1, "fetch.min.bytes", "10000", "fetch.max.wait.ms", Integer.toString(wait))) {
                Scene.same(List.of("little"), Scene.poll(consumer, 1), "what is read");
                long waited = relay.answers(Relay.FETCH).get(before).waitedMs();
                Scene.check(waited >= wait * 9 / 10 && waited < wait + 10_000, "waited " + waited + " ms of " + wait);
            }
        }
    }

    private static List<Integer> answerSizes(int before) {
        return relay.answers(Relay.FETCH).stream().skip(before).map(Relay.Answer::size).collect(Collectors.toList());
    }

    /** The sizes of the answers that brought all. */
    private static List<Integer> sizesOfReading(String topic, int partitions, String... settings) throws Exception {
        int before = relay.answers(Relay.FETCH).size();
        try (KafkaConsumer<String, String> consumer = reader(topic, partitions, settings)) {
            Scene.same(20, Scene.poll(consumer, 20).size(), "records");
        }
        return answerSizes(before);
    }

    private static final int ABOVE = 400; // what stands around records in an answer, and one batch's header

    private static int largest(List<Integer> sizes) {
        return sizes.stream().mapToInt(each -> each).max().orElse(0);
    }

    private static void partitionBytes() throws Exception {
        String topic = scene.topic(1);
        for (int i = 0; i < 20; i++)
            scene.write(topic, 0, "v".repeat(1000));
        int all = largest(sizesOfReading(topic, 1));
        Scene.check(all > 20_000, "without a limit: " + all);
        int three = largest(sizesOfReading(topic, 1, "max.partition.fetch.bytes", "3300"));
        Scene.check(three > 3000 && three < 3300 + ABOVE, "3300: " + three);
        // A batch that is larger than the limit comes all the same, or nobody would get past it.
        int one = largest(sizesOfReading(topic, 1, "max.partition.fetch.bytes", "500"));
        Scene.check(one > 1000 && one < 1000 + ABOVE, "500: " + one);
    }

    private static void fetchBytes() throws Exception {
        String topic = scene.topic(4);
        for (int i = 0; i < 20; i++)
            scene.write(topic, i % 4, "v".repeat(1000));
        int all = largest(sizesOfReading(topic, 4));
        Scene.check(all > 20_000, "without a limit: " + all);
        int three = largest(sizesOfReading(topic, 4, "fetch.max.bytes", "3300"));
        Scene.check(three > 3000 && three < 3300 + ABOVE, "3300: " + three);
    }

    private static void pollRecords() throws Exception {
        String topic = scene.topic(1);
        scene.writeNumbers(topic, 1, 10);
        List<Integer> sizes = new ArrayList<>();
        List<String> read = new ArrayList<>();
        int before = relay.answers(Relay.FETCH).size();
        try (KafkaConsumer<String, String> consumer = reader(topic, 1, "max.poll.records", "3")) {
            Scene.until(() -> {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                Scene.add(read, records);
                if (!records.isEmpty())
                    sizes.add(records.count());
                return read.size() == 10;
            }, "ten records");
            Scene.check(relay.answers(Relay.FETCH).get(before).size() > 10 * 61, "one fetch brought them");
        }
        Scene.same(List.of(3, 3, 3, 1), sizes, "records of each poll");
        Scene.same(numbers(0, 10), read, "what is read");
    }

    // Groups

    /** Who has the same group.id shares, who has another reads all, who has none cannot subscribe. */
    private static void group() throws Exception {
        String topic = scene.topic(2);
        String shared = Scene.group();
        try (KafkaConsumer<String, String> one = member(shared, List.of(topic));
             KafkaConsumer<String, String> two = member(shared, List.of(topic));
             KafkaConsumer<String, String> other = member(Scene.group(), List.of(topic));
             KafkaConsumer<String, String> none = scene.consumer()) {
            Scene.until(() -> {
                pollOnce(one);
                pollOnce(two);
                return one.assignment().size() == 1 && two.assignment().size() == 1;
            }, "two members, one partition each");
            scene.writeNumbers(topic, 2, 20);
            List<String> ofOne = new ArrayList<>();
            List<String> ofTwo = new ArrayList<>();
            Scene.until(() -> {
                Scene.add(ofOne, one.poll(Duration.ofMillis(20)));
                Scene.add(ofTwo, two.poll(Duration.ofMillis(20)));
                return ofOne.size() + ofTwo.size() == 20;
            }, "both together read all");
            Scene.same(10, ofOne.size(), "the one's part");
            Set<String> together = new HashSet<>(ofOne);
            together.addAll(ofTwo);
            Scene.same(new HashSet<>(numbers(0, 20)), together, "both parts");
            Scene.same(together, new HashSet<>(Scene.poll(other, 20)), "the other group's");
            Scene.refusal(() -> none.subscribe(List.of(topic)), InvalidGroupIdException.class);
        }
    }

    private static List<Long> heartbeatsOf(String client) {
        return relay.requests(Relay.HEARTBEAT).stream().filter(each -> each.client().equals(client))
            .map(Relay.Request::atMs).collect(Collectors.toList());
    }

    /** The mean time between the first heartbeats of a client. */
    private static long meanMs(String client, int count) {
        List<Long> found = heartbeatsOf(client);
        return (found.get(count) - found.get(0)) / count;
    }

    private static void heartbeats() throws Exception {
        String topic = scene.topic(1);
        try (KafkaConsumer<String, String> often = member(Scene.group(), List.of(topic),
                 "heartbeat.interval.ms", "100", "client.id", "tested-often");
             KafkaConsumer<String, String> rarely = member(Scene.group(), List.of(topic),
                 "heartbeat.interval.ms", "700", "client.id", "tested-rarely")) {
            Scene.until(() -> {
                pollOnce(often);
                pollOnce(rarely);
                return heartbeatsOf("tested-often").size() > 8 && heartbeatsOf("tested-rarely").size() > 2;
            }, "heartbeats");
        }
        long often = meanMs("tested-often", 8);
        Scene.check(often >= 80 && often < 1500, "every 100 ms: " + often);
        long rarely = meanMs("tested-rarely", 2);
        Scene.check(rarely >= 450 && rarely < 2500, "every 700 ms: " + rarely); // the default is 3000
        Scene.refusal(() -> {
            try (KafkaConsumer<String, String> consumer = member(Scene.group(), List.of(topic),
                "heartbeat.interval.ms", "2000", "session.timeout.ms", "2000")) {
                pollOnce(consumer);
            }
        }, Exception.class);
    }

    /** A member that says nothing for its session is taken for dead, and the other gets what it had. */
    private static void session() throws Exception {
        String topic = scene.topic(2);
        String group = Scene.group();
        String[] timing = {"session.timeout.ms", "1500", "heartbeat.interval.ms", "300", "client.id"};
        KafkaConsumer<String, String> silent = member(group, List.of(topic), with(timing, "tested-silent"));
        try (KafkaConsumer<String, String> living = member(group, List.of(topic), with(timing, "tested-living"))) {
            Scene.until(() -> {
                pollOnce(silent);
                pollOnce(living);
                return silent.assignment().size() == 1 && living.assignment().size() == 1;
            }, "one partition each");
            relay.ignore("tested-silent");
            long start = System.nanoTime() / 1_000_000;
            Scene.until(() -> {
                pollOnce(living);
                return living.assignment().size() == 2;
            }, "the other takes over");
            long after = System.nanoTime() / 1_000_000 - start;
            // Its last heartbeat was up to 300 ms earlier.
            Scene.check(after >= 1000 && after < 20_000, "it took over after " + after + " ms");
        } finally {
            silent.close(Duration.ZERO);
        }
        // The broker has its own limits (group.min.session.timeout.ms).
        try (KafkaConsumer<String, String> hasty = member(Scene.group(), List.of(topic),
            "session.timeout.ms", "200", "heartbeat.interval.ms", "50")) {
            Scene.refusal(() -> Scene.poll(hasty, 1), InvalidSessionTimeoutException.class);
        }
    }

    private static String[] with(String[] words, String last) {
        String[] all = Arrays.copyOf(words, words.length + 1);
        all[words.length] = last;
        return all;
    }

    /** True commits while it polls and when it closes; false never does. */
    private static void autoCommit() throws Exception {
        String topic = scene.topic(1);
        scene.writeNumbers(topic, 1, 5);
        String group = Scene.group();
        try (KafkaConsumer<String, String> consumer =
            member(group, List.of(topic), "enable.auto.commit", "true", "auto.commit.interval.ms", "100")) {
            Scene.poll(consumer, 5);
            Scene.until(() -> {
                pollOnce(consumer);
                return Long.valueOf(5).equals(scene.committed(group, topic));
            }, "committed while it polls");
        }
        String never = Scene.group();
        int before = relay.requests(Relay.OFFSET_COMMIT).size();
        try (KafkaConsumer<String, String> consumer =
            member(never, List.of(topic), "enable.auto.commit", "false", "auto.commit.interval.ms", "10")) {
            Scene.poll(consumer, 5);
            pollOnce(consumer);
        }
        Scene.same(before, relay.requests(Relay.OFFSET_COMMIT).size(), "commits of who commits nothing");
        Scene.check(scene.committed(never, topic) == null, "committed without being told");
    }

    /** A group that has no offset begins where auto.offset.reset says. */
    private static void reset() throws Exception {
        String topic = scene.topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        scene.writeNumbers(topic, 1, 5);
        try (KafkaConsumer<String, String> earliest =
                 member(Scene.group(), List.of(topic), "auto.offset.reset", "earliest");
             KafkaConsumer<String, String> latest =
                 member(Scene.group(), List.of(topic), "auto.offset.reset", "latest");
             KafkaConsumer<String, String> none = member(Scene.group(), List.of(topic), "auto.offset.reset", "none")) {
            Scene.same(numbers(0, 5), Scene.poll(earliest, 5), "earliest");
            Scene.until(() -> {
                Scene.check(latest.poll(Duration.ofMillis(20)).isEmpty(), "latest read what was there before");
                return !latest.assignment().isEmpty();
            }, "latest is assigned");
            Scene.same(5L, latest.position(partition), "latest's position");
            scene.write(topic, 0, "new");
            Scene.same(List.of("new"), Scene.poll(latest, 1), "latest");
            Scene.refusal(() -> Scene.poll(none, 1), NoOffsetForPartitionException.class);
        }
    }

    /** The same where the offset is no longer there. */
    private static void resetGone() throws Exception {
        String topic = scene.topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        scene.writeNumbers(topic, 1, 5);
        scene.admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(3))).all().get();
        try (KafkaConsumer<String, String> earliest = reader(topic, 1, "auto.offset.reset", "earliest");
             KafkaConsumer<String, String> latest = reader(topic, 1, "auto.offset.reset", "latest");
             KafkaConsumer<String, String> none = reader(topic, 1, "auto.offset.reset", "none")) {
            Scene.same(List.of("3", "4"), Scene.poll(earliest, 2), "earliest");
            Scene.until(() -> {
                Scene.check(latest.poll(Duration.ofMillis(20)).isEmpty(), "latest read what was there before");
                return latest.position(partition) == 5;
            }, "latest is at the end");
            scene.write(topic, 0, "new");
            Scene.same(List.of("new"), Scene.poll(latest, 1), "latest");
            Scene.refusal(() -> Scene.poll(none, 1), OffsetOutOfRangeException.class);
        }
    }

    /** Two topics of three partitions, two members: range gives each topic's larger half to the same one. */
    private static void assignors() throws Exception {
        List<String> topics = List.of(scene.topic(3), scene.topic(3));
        for (String assignor : List.of("", "RoundRobinAssignor", "CooperativeStickyAssignor")) {
            String group = Scene.group();
            String[] setting = {"partition.assignment.strategy", ASSIGNORS + assignor};
            if (assignor.isEmpty())
                setting = new String[0];
            List<Integer> expected = assignor.isEmpty() ? List.of(2, 4) : List.of(3, 3); // the default is range
            try (KafkaConsumer<String, String> one = member(group, topics, setting);
                 KafkaConsumer<String, String> two = member(group, topics, setting)) {
                Scene.until(() -> {
                    pollOnce(one);
                    pollOnce(two);
                    Set<TopicPartition> all = new HashSet<>(one.assignment());
                    all.addAll(two.assignment());
                    List<Integer> sizes = Stream.of(one, two).map(each -> each.assignment().size()).sorted()
                        .collect(Collectors.toList());
                    return all.size() == 6 && sizes.equals(expected);
                }, "'" + assignor + "' gives " + expected);
                if (assignor.isEmpty())
                    try (KafkaConsumer<String, String> stranger = member(group, topics,
                        "partition.assignment.strategy", RoundRobinAssignor.class.getName())) {
                        Scene.refusal(() -> Scene.poll(stranger, 1), InconsistentGroupProtocolException.class);
                    }
            }
        }
    }

    // Commits that fail

    /** It is told, it is not sent again, and the next one stands for it, too. */
    private static void asyncFails() throws Exception {
        String topic = scene.topic(1);
        String group = Scene.group();
        scene.writeNumbers(topic, 1, 6);
        try (KafkaConsumer<String, String> consumer = member(group, List.of(topic), "max.poll.records", "3")) {
            Scene.poll(consumer, 3);
            relay.loseRequests(Relay.OFFSET_COMMIT, 1);
            List<Exception> told = new ArrayList<>();
            consumer.commitAsync((offsets, failure) -> told.add(failure));
            List<String> rest = new ArrayList<>();
            Scene.until(() -> {
                Scene.add(rest, consumer.poll(Duration.ofMillis(20)));
                return !told.isEmpty();
            }, "the program is told");
            Scene.check(told.get(0) instanceof RetriableCommitFailedException, "told " + told);
            // The coordinator is found again, and time passes in which it could be sent again.
            int beats = relay.requests(Relay.HEARTBEAT).size() + 3;
            Scene.until(() -> {
                Scene.add(rest, consumer.poll(Duration.ofMillis(20)));
                return rest.size() == 3 && relay.requests(Relay.HEARTBEAT).size() >= beats;
            }, "the rest, and heartbeats");
            Scene.same(1, relay.requests(Relay.OFFSET_COMMIT).size(), "commits");
            Scene.check(scene.committed(group, topic) == null, "a commit that failed");
            consumer.commitAsync((offsets, failure) -> told.add(failure));
            Scene.until(() -> {
                pollOnce(consumer);
                return told.size() == 2;
            }, "the program is told again");
            Scene.check(told.get(1) == null, "told " + told);
            Scene.same(6L, scene.committed(group, topic), "committed");
            Scene.same(2, relay.requests(Relay.OFFSET_COMMIT).size(), "commits");
        }
    }

    /** It is sent again until it stands. */
    private static void syncFails() throws Exception {
        String topic = scene.topic(1);
        String group = Scene.group();
        scene.writeNumbers(topic, 1, 3);
        try (KafkaConsumer<String, String> consumer = member(group, List.of(topic))) {
            Scene.poll(consumer, 3);
            relay.loseRequests(Relay.OFFSET_COMMIT, 2);
            consumer.commitSync();
            Scene.same(3L, scene.committed(group, topic), "committed");
            Scene.same(3, relay.requests(Relay.OFFSET_COMMIT).size(), "commits");
        }
    }

    /** Prints the offsets of partition 0 that a consumer of this isolation level reads. */
    private static void transactions(String topic, String isolation) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer = reader(topic, 1, "isolation.level", isolation)) {
            long end = consumer.endOffsets(List.of(partition)).get(partition); // the last stable one, where committed
            List<Long> offsets = new ArrayList<>();
            Scene.until(() -> {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100)))
                    offsets.add(record.offset());
                return consumer.position(partition) >= end;
            }, "the end");
            System.out.println(offsets);
        }
    }

    // Topics

    private static void partitions() throws Exception {
        String topic = scene.topic(3);
        scene.writeNumbers(topic, 3, 3);
        for (int count : new int[] {2, 3})
            Scene.refusal(
                () -> scene.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(count))).all().get(),
                InvalidPartitionsException.class);
        scene.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        Scene.until(() -> scene.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()
            .size() == 4, "four partitions");
        Scene.until(() -> scene.offset(new TopicPartition(topic, 3), OffsetSpec.latest())
            == 0, "the new one has a leader");
        scene.write(topic, 3, "3");
        try (KafkaConsumer<String, String> consumer = reader(topic, 4)) {
            Scene.same(new HashSet<>(numbers(0, 4)), new HashSet<>(Scene.poll(consumer, 4)), "what is read");
        }
    }

    private static void replicas() throws Exception {
        String name = "topic-" + UUID.randomUUID();
        for (int factor : new int[] {2, 3})
            Scene.refusal(() -> scene.admin.createTopics(List.of(new NewTopic(name, 1, (short) factor))).all().get(),
                InvalidReplicationFactorException.class);
        scene.admin.createTopics(List.of(new NewTopic(name, 1, (short) 1))).all().get();
        Scene.until(() -> scene.admin.listTopics().names().get().contains(name), "one replica");
        Scene.same(1, scene.admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().get(0)
            .replicas().size(), "replicas");
    }

    /** What was sent less what was read, as the consumer itself knows it. */
    private static void lag() throws Exception {
        String topic = scene.topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        scene.writeNumbers(topic, 1, 10);
        try (KafkaConsumer<String, String> consumer = reader(topic, 1, "max.poll.records", "4")) {
            Scene.poll(consumer, 4);
            Scene.same(6L, consumer.currentLag(partition).getAsLong(), "lag");
            Scene.poll(consumer, 4);
            Scene.same(2L, consumer.currentLag(partition).getAsLong(), "lag");
        }
    }
}
