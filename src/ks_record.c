#include "ks_record.h"

#include <string.h>

#include "ks_varint.h"

/* A varint length and that many bytes; `least` is -1 where null is allowed. */
static inline const uint8_t *read_sized(const uint8_t *p, const uint8_t *limit, int32_t least,
                                        const uint8_t **bytes, int32_t *size) {
    p = ks_read_varint32(p, limit, size);
    if (KS_UNLIKELY(p == NULL || *size < least || *size > limit - p))
        return NULL;
    if (*size < 0) {
        *bytes = NULL;
        return p;
    }
    *bytes = p;
    return p + *size;
}

const uint8_t *ks_record_read_header(const uint8_t *p, const uint8_t *limit, struct ks_header *header) {
    p = read_sized(p, limit, 0, &header->key, &header->key_size);
    if (p == NULL)
        return NULL;
    return read_sized(p, limit, -1, &header->value, &header->value_size);
}

const uint8_t *ks_record_read(const uint8_t *p, const uint8_t *limit, struct ks_record *record) {
    int32_t body_size;
    p = ks_read_varint32(p, limit, &body_size);
    if (KS_UNLIKELY(p == NULL || body_size < KS_SMALLEST_RECORD - 1 || body_size > limit - p))
        return NULL;
    const uint8_t *end = p + body_size;
    p = ks_read_varint64(p + 1, end, &record->timestamp_delta);
    if (KS_UNLIKELY(p == NULL))
        return NULL;
    p = ks_read_varint32(p, end, &record->offset_delta);
    if (KS_UNLIKELY(p == NULL))
        return NULL;
    p = read_sized(p, end, -1, &record->key, &record->key_size);
    if (KS_UNLIKELY(p == NULL))
        return NULL;
    p = read_sized(p, end, -1, &record->value, &record->value_size);
    if (KS_UNLIKELY(p == NULL))
        return NULL;
    p = ks_read_varint32(p, end, &record->header_count);
    /* Each header takes two bytes at least, so a count beyond that is a bomb. */
    if (KS_UNLIKELY(p == NULL || record->header_count < 0 || record->header_count > (end - p) / 2))
        return NULL;
    record->headers = p;
    record->end = end;
    for (int32_t i = 0; i < record->header_count; i++) {
        struct ks_header header;
        p = ks_record_read_header(p, end, &header);
        if (p == NULL)
            return NULL;
    }
    return p == end ? p : NULL;
}

int64_t ks_size_sized(int32_t size) {
    return (int64_t)ks_size_varint32(size < 0 ? -1 : size) + (size < 0 ? 0 : size);
}

uint8_t *ks_write_sized(uint8_t *p, const uint8_t *bytes, int32_t size) {
    p = ks_write_varint32(p, size < 0 ? -1 : size);
    if (size > 0) {
        memcpy(p, bytes, (size_t)size);
        p += size;
    }
    return p;
}

int64_t ks_record_body_size(int64_t timestamp_delta, int32_t offset_delta, int64_t key_size,
                            int64_t value_size, int32_t header_count, int64_t headers_size) {
    if (key_size > INT32_MAX || value_size > INT32_MAX)
        return KS_ETRUNCATED;
    int64_t size = 1 + (int64_t)ks_size_varint64(timestamp_delta) + (int64_t)ks_size_varint32(offset_delta) +
                   ks_size_sized((int32_t)key_size) + ks_size_sized((int32_t)value_size) +
                   (int64_t)ks_size_varint32(header_count) + headers_size;
    return size > INT32_MAX ? KS_ETRUNCATED : size;
}

uint8_t *ks_record_write(uint8_t *p, int32_t body_size, int64_t timestamp_delta, int32_t offset_delta,
                         const uint8_t *key, int32_t key_size, const uint8_t *value, int32_t value_size,
                         int32_t header_count) {
    p = ks_write_varint32(p, body_size);
    *p++ = 0;
    p = ks_write_varint64(p, timestamp_delta);
    p = ks_write_varint32(p, offset_delta);
    p = ks_write_sized(p, key, key_size);
    p = ks_write_sized(p, value, value_size);
    return ks_write_varint32(p, header_count);
}
