/* Records: a check in pieces says what the check of the whole says, and agrees with the reader of single
 * records; what is read is written back to the same meaning.
 *
 * Input: how the batch is cut (a byte), its count (a byte), consecutive or not (a bit of the first), then the
 * records.
 */
#include "fuzz.h"
#include "ks_bytes.h"
#include "ks_check.h"
#include "ks_record.h"

static int64_t check(struct ks_records_walk *walk, const struct ks_records_promise *promise, const uint8_t *p,
                     const uint8_t *limit, size_t piece) {
    ks_records_start(walk, promise);
    uint8_t *room = malloc(piece); /* each piece ends where it does: nothing behind it may be read */
    PROMISE(room != NULL);
    uint8_t *end = room + piece;
    int64_t status = 0;
    while (p < limit && status >= 0) {
        size_t size = (size_t)(limit - p) < piece ? (size_t)(limit - p) : piece;
        memcpy(end - size, p, size);
        status = ks_records_feed(walk, end - size, end);
        p += size;
    }
    free(room);
    return status < 0 ? status : ks_records_finish(walk);
}

/* Reads a record and writes it again. The next position, or NULL. */
static const uint8_t *read_and_write(const uint8_t *p, const uint8_t *limit) {
    struct ks_record record;
    const uint8_t *end = ks_record_read(p, limit, &record);
    if (end == NULL)
        return NULL;
    PROMISE(end > p && end <= limit);
    PROMISE((record.key == NULL) == (record.key_size < 0));
    PROMISE((record.value == NULL) == (record.value_size < 0));
    int64_t headers_size = end - record.headers;
    const uint8_t *header_at = record.headers;
    for (int32_t i = 0; i < record.header_count; i++) {
        struct ks_header header;
        header_at = ks_record_read_header(header_at, end, &header);
        PROMISE(header_at != NULL);
        PROMISE(header.key_size >= 0);
    }
    PROMISE(header_at == end);

    int64_t body = ks_record_body_size(record.timestamp_delta, record.offset_delta, record.key_size,
                                       record.value_size, record.header_count, headers_size);
    PROMISE(body >= 0 && body <= end - p); /* the input may have written its numbers longer than needed */
    uint8_t *copy = malloc((size_t)body + 5);
    PROMISE(copy != NULL);
    uint8_t *copy_end =
        ks_record_write(copy, (int32_t)(body + headers_size), record.timestamp_delta, record.offset_delta,
                        record.key, record.key_size, record.value, record.value_size, record.header_count);
    PROMISE(copy_end <= copy + body + 5);
    free(copy);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    size_t piece = (size_t)(data[0] >> 1) + 1;
    struct ks_records_promise promise = {
        .base_timestamp = 1000,
        .count = data[1],
        .last_offset_delta = data[1] - 1,
        .consecutive = data[0] & 1,
    };
    const uint8_t *p = data + 2, *limit = data + size;

    struct ks_records_walk whole, pieces;
    int64_t status = check(&whole, &promise, p, limit, size);
    int64_t in_pieces = check(&pieces, &promise, p, limit, piece);
    PROMISE(status == in_pieces);
    PROMISE(whole.index == pieces.index && whole.fault == pieces.fault);
    if (status == KS_OK) {
        PROMISE(whole.min_timestamp == pieces.min_timestamp && whole.max_timestamp == pieces.max_timestamp);
        PROMISE(whole.max_timestamp_offset_delta == pieces.max_timestamp_offset_delta);
        PROMISE(whole.null_keys == pieces.null_keys && whole.index == promise.count);
    }

    int32_t count = 0;
    while (p < limit) {
        const uint8_t *next = read_and_write(p, limit);
        if (next == NULL)
            break;
        p = next;
        count++;
    }
    /* What the check accepts the reader reads. */
    PROMISE(status != KS_OK || (p == limit && count == promise.count));
    return 0;
}
