/*
 * A load generator over librdkafka: one producer or one consumer, and what it saw as one line of JSON.
 *
 *   load produce key=value...    sends `records` records of `size` bytes and waits for every acknowledgement
 *   load fetch key=value...      reads `records` records of `partitions` partitions from their beginning
 *
 * A record is 8 bytes of its number, then bytes of a random pool that the seed fills, so what is sent can be told
 * from what is read: `sum` adds up a hash of every record and does not depend on the order of partitions.
 * Latencies are those of delivery reports: with rate=N from the moment that the schedule gave the record, so that a
 * slow broker does not hide its own delays (no coordinated omission). With a rate the first record of each partition is
 * sent before the schedule begins and its latency does not count: by then every leader is connected to.
 */

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { POOL = 1 << 20, BUCKETS_PER_DOUBLING = 32, BUCKETS = 40 * BUCKETS_PER_DOUBLING };

struct options {
    const char *brokers;
    const char *topic;
    int64_t records;
    int64_t size;
    int64_t partitions;
    int64_t rate; /* records a second, 0: as fast as it goes */
    uint64_t seed;
    int64_t random_percent; /* of a record that does not compress */
    bool mock;              /* librdkafka's own broker in this process: how fast is the client alone */
};

struct tally {
    int64_t delivered;
    int64_t failed;
    const char *last_error;
    int64_t latency[BUCKETS];
    int64_t longest_us;
};

static unsigned char pool[POOL + (1 << 20) + 64];

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
           + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "load: %s: %s\n", what, detail);
    exit(1);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* `random_percent` of every 64 bytes are random, the rest is one letter. */
static void fill_pool(uint64_t seed, int64_t random_percent)
{
    uint64_t state = mix(seed + 1);
    for (size_t i = 0; i < sizeof pool; i++) {
        if (i % 8 == 0)
            state = mix(state + UINT64_C(0x9e3779b97f4a7c15));
        bool random = (int64_t)(i % 64) * 100 < random_percent * 64;
        pool[i] = random ? (unsigned char)(state >> (i % 8 * 8)) : 'k';
    }
}

static const unsigned char *pool_slice(int64_t number)
{
    return pool + (size_t)(mix((uint64_t)number) % POOL);
}

/* The sum of a record is made of its number and of a few of its bytes: enough to notice another record. */
static uint64_t record_sum(const unsigned char *data, size_t size)
{
    uint64_t sum = size;
    for (size_t i = 0; i + 8 <= size; i += size > 512 ? 128 : 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        sum = mix(sum + word);
    }
    return sum;
}

static int bucket(int64_t us)
{
    int doublings = 0;
    while ((us >> doublings) >= 2 * BUCKETS_PER_DOUBLING)
        doublings++;
    int index = doublings * BUCKETS_PER_DOUBLING + (int)(us >> doublings);
    return index < BUCKETS ? index : BUCKETS - 1;
}

static int64_t bucket_value(int index)
{
    int doublings = index < 2 * BUCKETS_PER_DOUBLING ? 0 : index / BUCKETS_PER_DOUBLING - 1;
    return (int64_t)(index - doublings * BUCKETS_PER_DOUBLING) << doublings;
}

static int64_t percentile(const struct tally *tally, double part)
{
    int64_t wanted = (int64_t)((double)tally->delivered * part);
    int64_t seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += tally->latency[i];
        if (seen > wanted)
            return bucket_value(i);
    }
    return tally->longest_us;
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client;
    struct tally *tally = opaque;
    if (message->err) {
        tally->failed++;
        tally->last_error = rd_kafka_err2str(message->err);
        return;
    }
    int64_t took = now_us() - (int64_t)(intptr_t)message->_private;
    if (took < 0)
        took = 0;
    tally->delivered++;
    tally->latency[bucket(took)]++;
    if (took > tally->longest_us)
        tally->longest_us = took;
}

static void print_result(const char *mode, int64_t records, int64_t bytes, int64_t took_us, double cpu, uint64_t sum)
{
    printf("{\"mode\": \"%s\", \"records\": %" PRId64 ", \"bytes\": %" PRId64 ", \"seconds\": %.6f, "
           "\"client_cpu_seconds\": %.6f, \"sum\": \"%016" PRIx64 "\"",
           mode, records, bytes, (double)took_us / 1e6, cpu, sum);
}

/* Keeps to the schedule where there is one; the time from which the record's latency counts. */
static int64_t scheduled(rd_kafka_t *client, const struct options *options, int64_t started, int64_t number)
{
    if (options->rate <= 0)
        return now_us();
    int64_t due = started + number * 1000000 / options->rate;
    int64_t wait;
    while ((wait = due - now_us()) > 0) {
        if (rd_kafka_poll(client, wait > 2000 ? 1 : 0) == 0 && wait > 100 && wait <= 2000) {
            struct timespec nap = {0, 50000};
            nanosleep(&nap, NULL);
        }
    }
    return due;
}

/* Sends the records from `first` up to `end`; the sum of what was sent. */
static uint64_t send_some(rd_kafka_t *client, rd_kafka_topic_t *topic, const struct options *options, int64_t first,
                          int64_t end)
{
    uint64_t sum = 0;
    unsigned char *record = malloc((size_t)options->size);
    if (record == NULL)
        fail("memory", "record");
    int64_t started = now_us();
    for (int64_t number = first; number < end; number++) {
        memcpy(record, pool_slice(number), (size_t)options->size);
        memcpy(record, &number, sizeof number);
        sum += record_sum(record, (size_t)options->size);
        int64_t due = scheduled(client, options, started, number - first);
        int32_t partition = (int32_t)(number % options->partitions);
        while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, record, (size_t)options->size, NULL, 0,
                                (void *)(intptr_t)due)
               == -1) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_poll(client, 10);
        }
        if (number % 64 == 0)
            rd_kafka_poll(client, 0);
    }
    free(record);
    return sum;
}

static void wait_for_all(rd_kafka_t *client)
{
    if (rd_kafka_flush(client, 600000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("flush", "records are not acknowledged");
}

static void produce(rd_kafka_conf_t *config, const struct options *options)
{
    static struct tally tally;
    char error[512];
    rd_kafka_conf_set_dr_msg_cb(config, on_delivery);
    rd_kafka_conf_set_opaque(config, &tally);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, config, error, sizeof error);
    if (client == NULL)
        fail("producer", error);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, options->topic, NULL);
    const struct rd_kafka_metadata *metadata;
    /* Connections and metadata come first: they are no part of the rate. */
    if (rd_kafka_metadata(client, 0, topic, &metadata, 30000) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(metadata);
    double cpu = cpu_seconds();
    int64_t started = now_us();
    int64_t primed = options->rate > 0 && options->partitions < options->records ? options->partitions : 0;
    uint64_t sum = send_some(client, topic, options, 0, primed);
    if (primed > 0) {
        wait_for_all(client);
        memset(tally.latency, 0, sizeof tally.latency);
        tally.longest_us = 0;
        started = now_us();
    }
    sum += send_some(client, topic, options, primed, options->records);
    wait_for_all(client);
    int64_t took = now_us() - started;
    cpu = cpu_seconds() - cpu;
    if (tally.failed > 0)
        fail("delivery", tally.last_error);
    print_result("produce", tally.delivered, tally.delivered * options->size, took, cpu, sum);
    printf(", \"latency_us\": {\"p50\": %" PRId64 ", \"p99\": %" PRId64 ", \"p999\": %" PRId64 ", \"max\": %" PRId64
           "}}\n",
           percentile(&tally, 0.5), percentile(&tally, 0.99), percentile(&tally, 0.999), tally.longest_us);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
}

static void fetch(rd_kafka_conf_t *config, const struct options *options)
{
    char error[512];
    rd_kafka_conf_set(config, "group.id", "load", NULL, 0);
    rd_kafka_conf_set(config, "enable.auto.commit", "false", NULL, 0);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, config, error, sizeof error);
    if (client == NULL)
        fail("consumer", error);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *wanted = rd_kafka_topic_partition_list_new((int)options->partitions);
    for (int32_t partition = 0; partition < options->partitions; partition++)
        rd_kafka_topic_partition_list_add(wanted, options->topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
    double cpu = cpu_seconds();
    int64_t started = now_us();
    if (rd_kafka_assign(client, wanted) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("assign", options->topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
    rd_kafka_message_t *messages[1000];
    int64_t records = 0, bytes = 0, last = started;
    uint64_t sum = 0;
    while (records < options->records) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, 1000, messages, 1000);
        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                records++;
                bytes += (int64_t)messages[i]->len;
                sum += record_sum(messages[i]->payload, messages[i]->len);
            } else {
                fail("fetch", rd_kafka_message_errstr(messages[i]));
            }
            rd_kafka_message_destroy(messages[i]);
        }
        if (count > 0)
            last = now_us();
        else if (now_us() - last > 30000000)
            fail("fetch", "no records for 30 seconds");
    }
    cpu = cpu_seconds() - cpu;
    print_result("fetch", records, bytes, now_us() - started, cpu, sum);
    printf("}\n");
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(wanted);
    rd_kafka_destroy(client);
}

/* key=value: our own words, and everything else is librdkafka's configuration. */
static void read_option(char *word, struct options *options, rd_kafka_conf_t *config)
{
    char error[512];
    char *value = strchr(word, '=');
    if (value == NULL)
        fail("not key=value", word);
    *value++ = '\0';
    if (strcmp(word, "topic") == 0)
        options->topic = value;
    else if (strcmp(word, "records") == 0)
        options->records = atoll(value);
    else if (strcmp(word, "size") == 0)
        options->size = atoll(value);
    else if (strcmp(word, "partitions") == 0)
        options->partitions = atoll(value);
    else if (strcmp(word, "rate") == 0)
        options->rate = atoll(value);
    else if (strcmp(word, "seed") == 0)
        options->seed = (uint64_t)atoll(value);
    else if (strcmp(word, "random_percent") == 0)
        options->random_percent = atoll(value);
    else if (strcmp(word, "mock") == 0)
        options->mock = atoll(value) != 0;
    else if (rd_kafka_conf_set(config, word, value, error, sizeof error) != RD_KAFKA_CONF_OK)
        fail("configuration", error);
}

int main(int count, char **words)
{
    struct options options = {.topic = "load", .records = 1000, .size = 1000, .partitions = 1, .random_percent = 100};
    rd_kafka_conf_t *config = rd_kafka_conf_new();
    if (count < 2)
        fail("usage", "load produce|fetch key=value...");
    for (int i = 2; i < count; i++)
        read_option(words[i], &options, config);
    if (options.size < 8 || options.size > (1 << 20) || options.partitions < 1)
        fail("size", "from 8 to 1048576 bytes, one partition or more");
    if (options.mock)
        rd_kafka_conf_set(config, "test.mock.num.brokers", "1", NULL, 0);
    fill_pool(options.seed, options.random_percent);
    if (strcmp(words[1], "produce") == 0)
        produce(config, &options);
    else if (strcmp(words[1], "fetch") == 0)
        fetch(config, &options);
    else
        fail("usage", "load produce|fetch key=value...");
    return 0;
}
