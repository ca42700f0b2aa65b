#include "ks_check.h"

#include <string.h>

#include "ks_bytes.h"
#include "ks_varint.h"

void ks_records_start(struct ks_records_walk *walk, const struct ks_records_promise *promise) {
    memset(walk, 0, sizeof *walk);
    walk->promise = *promise;
    walk->min_timestamp = INT64_MAX;
    walk->max_timestamp = INT64_MIN;
    walk->max_timestamp_offset_delta = -1;
    walk->previous_offset = -1;
    walk->state = KS_AT_LENGTH;
}

static int64_t fail(struct ks_records_walk *walk, int32_t fault) {
    walk->fault = fault;
    return KS_ERECORD;
}

/* A record has been read to its end. */
static inline int64_t count_record(struct ks_records_walk *walk, int64_t timestamp_delta,
                                   int32_t offset_delta, int32_t key_size) {
    if (KS_UNLIKELY(walk->promise.consecutive ? offset_delta != walk->index
                                              : offset_delta <= walk->previous_offset ||
                                                    offset_delta > walk->promise.last_offset_delta))
        return fail(walk, KS_RECORD_OFFSET);
    int64_t timestamp = ks_add64(walk->promise.base_timestamp, timestamp_delta);
    if (timestamp < walk->min_timestamp)
        walk->min_timestamp = timestamp;
    if (timestamp > walk->max_timestamp || walk->index == 0) {
        walk->max_timestamp = timestamp;
        walk->max_timestamp_offset_delta = offset_delta;
    }
    walk->null_keys += key_size < 0;
    walk->previous_offset = offset_delta;
    walk->index++;
    return KS_OK;
}

/* A size that must fit what is left of the record. */
static int is_size(const struct ks_records_walk *walk, int64_t size, int64_t least) {
    return size >= least && size <= walk->left;
}

/* Takes the number that `state` waits for, and says what comes next. */
static int64_t take(struct ks_records_walk *walk, int64_t number) {
    switch (walk->state) {
    case KS_AT_LENGTH:
        if (number < KS_SMALLEST_RECORD - 1)
            return fail(walk, KS_RECORD_MALFORMED);
        walk->left = number;
        walk->state = KS_AT_ATTRIBUTES;
        return KS_OK;
    case KS_AT_ATTRIBUTES:
        walk->state = KS_AT_TIMESTAMP;
        return KS_OK;
    case KS_AT_TIMESTAMP:
        walk->timestamp_delta = number;
        walk->state = KS_AT_OFFSET;
        return KS_OK;
    case KS_AT_OFFSET:
        walk->offset_delta = (int32_t)number;
        walk->state = KS_AT_KEY_SIZE;
        return KS_OK;
    case KS_AT_HEADER_COUNT:
        /* Each header takes two bytes at least, so a count beyond that is a bomb. */
        if (number < 0 || number > walk->left / 2)
            return fail(walk, KS_RECORD_MALFORMED);
        walk->headers_left = (int32_t)number;
        walk->state = KS_AT_HEADER_KEY_SIZE;
        break;
    default:
        if (!is_size(walk, number, walk->state == KS_AT_HEADER_KEY_SIZE ? 0 : -1))
            return fail(walk, KS_RECORD_MALFORMED);
        walk->skip = number < 0 ? 0 : number;
        if (walk->state == KS_AT_KEY_SIZE) {
            walk->key_size = (int32_t)number;
            walk->state = KS_AT_VALUE_SIZE;
        } else if (walk->state == KS_AT_VALUE_SIZE) {
            walk->state = KS_AT_HEADER_COUNT;
        } else if (walk->state == KS_AT_HEADER_KEY_SIZE) {
            walk->state = KS_AT_HEADER_VALUE_SIZE;
        } else {
            walk->headers_left--;
            walk->state = KS_AT_HEADER_KEY_SIZE;
        }
    }
    return KS_OK;
}

/* Steps over what is to be skipped; counts the record when nothing of it is left. */
static int64_t skip(struct ks_records_walk *walk, const uint8_t **p, const uint8_t *limit) {
    int64_t n = walk->skip < limit - *p ? walk->skip : limit - *p;
    *p += n;
    walk->skip -= n;
    walk->left -= n;
    if (walk->skip == 0 && walk->state == KS_AT_HEADER_KEY_SIZE && walk->headers_left == 0) {
        if (walk->left != 0)
            return fail(walk, KS_RECORD_MALFORMED);
        walk->state = KS_AT_LENGTH;
        return count_record(walk, walk->timestamp_delta, walk->offset_delta, walk->key_size);
    }
    return KS_OK;
}

/* Reads the number that `state` waits for from [p, limit). The position behind it, or NULL: then it is
 * malformed when `fault` is set, else it goes on behind `limit`. */
static const uint8_t *read_number(struct ks_records_walk *walk, const uint8_t *p, const uint8_t *limit) {
    const uint8_t *end = limit;
    const uint8_t *next;
    int64_t number = 0;
    int64_t longest = KS_VARINT32_MAX;
    if (walk->state != KS_AT_LENGTH && walk->left < limit - p)
        end = p + walk->left;
    if (walk->state == KS_AT_ATTRIBUTES) {
        next = p < end ? p + 1 : NULL;
    } else if (walk->state == KS_AT_TIMESTAMP) {
        longest = KS_VARINT64_MAX;
        next = ks_read_varint64(p, end, &number);
    } else {
        int32_t narrow = 0;
        next = ks_read_varint32(p, end, &narrow);
        number = narrow;
    }
    if (next == NULL) {
        if (limit - p >= longest || (walk->state != KS_AT_LENGTH && walk->left <= limit - p))
            (void)fail(walk, KS_RECORD_MALFORMED);
        return NULL;
    }
    if (walk->state != KS_AT_LENGTH)
        walk->left -= next - p;
    return take(walk, number) == KS_OK ? next : NULL;
}

/* Goes on in the middle of a record, up to its end or the piece's. */
static int64_t go_on(struct ks_records_walk *walk, const uint8_t **position, const uint8_t *limit) {
    const uint8_t *p = *position;
    do {
        if (walk->skip == 0 && !(walk->state == KS_AT_HEADER_KEY_SIZE && walk->headers_left == 0)) {
            const uint8_t *next;
            if (walk->split_size > 0) {
                /* The number began in an earlier piece: put its parts together. */
                uint8_t *joined = walk->split;
                int64_t kept = walk->split_size;
                int64_t more = KS_SPLIT_MAX - kept < limit - p ? KS_SPLIT_MAX - kept : limit - p;
                memcpy(joined + kept, p, (size_t)more);
                next = read_number(walk, joined, joined + kept + more);
                if (next == NULL && walk->fault == KS_RECORD_FINE) {
                    walk->split_size = (uint32_t)(kept + more);
                    p += more;
                    break;
                }
                walk->split_size = 0;
                if (next != NULL)
                    next = p + (next - joined - kept);
            } else {
                next = read_number(walk, p, limit);
                if (next == NULL && walk->fault == KS_RECORD_FINE) {
                    walk->split_size = (uint32_t)(limit - p);
                    memcpy(walk->split, p, walk->split_size);
                    p = limit;
                    break;
                }
            }
            if (next == NULL)
                return KS_ERECORD;
            p = next;
        }
        if (skip(walk, &p, limit) != KS_OK)
            return KS_ERECORD;
    } while (p < limit && walk->state != KS_AT_LENGTH);
    *position = p;
    return KS_OK;
}

int64_t ks_records_feed(struct ks_records_walk *walk, const uint8_t *p, const uint8_t *limit) {
    struct ks_record record;
    if (walk->fault != KS_RECORD_FINE)
        return KS_ERECORD;
    walk->size += limit - p;
    while (p < limit) {
        if (walk->index == walk->promise.count)
            return fail(walk, KS_RECORD_TRAILING_BYTES);
        if (walk->state == KS_AT_LENGTH && walk->split_size == 0) {
            int32_t size;
            const uint8_t *body = ks_read_varint32(p, limit, &size);
            if (KS_LIKELY(body != NULL && size <= limit - body)) {
                p = ks_record_read(p, limit, &record);
                if (KS_UNLIKELY(p == NULL))
                    return fail(walk, KS_RECORD_MALFORMED);
                if (KS_UNLIKELY(count_record(walk, record.timestamp_delta, record.offset_delta,
                                             record.key_size) != KS_OK))
                    return KS_ERECORD;
                continue;
            }
        }
        if (go_on(walk, &p, limit) != KS_OK)
            return KS_ERECORD;
    }
    return KS_OK;
}

int64_t ks_records_finish(struct ks_records_walk *walk) {
    if (walk->fault != KS_RECORD_FINE)
        return KS_ERECORD;
    return walk->index == walk->promise.count ? KS_OK : fail(walk, KS_RECORD_MALFORMED);
}
