/* Records inside a batch, message format v2 (DefaultRecord.java).
 *
 *   length varint | attributes i8 | timestamp delta varlong | offset delta varint
 *   | key length varint, key | value length varint, value | header count varint
 *   | for each header: key length varint, key | value length varint, value
 *
 * `length` counts what follows it. A length of -1 is null; a header's key cannot be null. The attributes are
 * unused.
 */
#ifndef KS_RECORD_H
#define KS_RECORD_H

#include "ks_base.h"

enum { KS_SMALLEST_RECORD = 7 };

/* Points into the batch; key and value are NULL (with length -1) when they are null. */
struct ks_record {
    const uint8_t *key;
    const uint8_t *value;
    const uint8_t *headers; /* their first byte; the headers end where the record ends */
    const uint8_t *end;
    int64_t timestamp_delta;
    int32_t offset_delta;
    int32_t key_size;
    int32_t value_size;
    int32_t header_count;
};

struct ks_header {
    const uint8_t *key;
    const uint8_t *value;
    int32_t key_size;
    int32_t value_size;
};

/* Reads one record with all its header lengths checked. The next position, or NULL when it is malformed. */
const uint8_t *ks_record_read(const uint8_t *p, const uint8_t *limit, struct ks_record *record);

/* Reads one header of a record that ks_record_read has accepted. */
const uint8_t *ks_record_read_header(const uint8_t *p, const uint8_t *limit, struct ks_header *header);

/* The size of the record's body (what `length` says) without its headers, or KS_ETRUNCATED above 2^31 - 1. */
int64_t ks_record_body_size(int64_t timestamp_delta, int32_t offset_delta, int64_t key_size,
                            int64_t value_size, int32_t header_count, int64_t headers_size);

/* Writes length, attributes, deltas, key, value and the header count; the caller has made room. Returns the
 * end. */
uint8_t *ks_record_write(uint8_t *p, int32_t body_size, int64_t timestamp_delta, int32_t offset_delta,
                         const uint8_t *key, int32_t key_size, const uint8_t *value, int32_t value_size,
                         int32_t header_count);

/* A length and its bytes; a negative size is null. */
uint8_t *ks_write_sized(uint8_t *p, const uint8_t *bytes, int32_t size);
int64_t ks_size_sized(int32_t size);

#endif
