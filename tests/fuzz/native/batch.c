/* A batch header: what is accepted lies within the input, and is written back as it was read. */
#include "fuzz.h"
#include "ks_batch.h"

static struct ks_batch_header read_header(const uint8_t *p) {
    struct ks_batch_header header = {
        .base_offset = ks_load64(p + KS_BATCH_BASE_OFFSET),
        .base_timestamp = ks_load64(p + KS_BATCH_BASE_TIMESTAMP),
        .max_timestamp = ks_load64(p + KS_BATCH_MAX_TIMESTAMP),
        .producer_id = ks_load64(p + KS_BATCH_PRODUCER_ID),
        .crc = (uint32_t)ks_load32(p + KS_BATCH_CRC),
        .partition_leader_epoch = ks_load32(p + KS_BATCH_LEADER_EPOCH),
        .last_offset_delta = ks_load32(p + KS_BATCH_LAST_OFFSET_DELTA),
        .base_sequence = ks_load32(p + KS_BATCH_BASE_SEQUENCE),
        .count = ks_load32(p + KS_BATCH_COUNT),
        .attributes = ks_load16(p + KS_BATCH_ATTRIBUTES),
        .producer_epoch = ks_load16(p + KS_BATCH_PRODUCER_EPOCH),
    };
    return header;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t found = ks_batch_size(data, (int64_t)size);
    if (found < 0) {
        PROMISE(found == KS_ETRUNCATED || found == KS_ECORRUPT || found == KS_EMAGIC);
        return 0;
    }
    PROMISE(found >= KS_BATCH_HEADER_SIZE && (uint64_t)found <= size);

    struct ks_batch_header header = read_header(data);
    uint8_t written[KS_BATCH_HEADER_SIZE];
    memcpy(written + KS_BATCH_CRC, data + KS_BATCH_CRC, 4); /* the only field that is not written */
    ks_batch_write_header(written, (int32_t)found, &header);
    PROMISE(memcmp(written, data, KS_BATCH_HEADER_SIZE) == 0);

    int64_t last_offset = ks_batch_last_offset(data);
    ks_batch_stamp(written, 0, 7);
    PROMISE(ks_batch_last_offset(written) == header.last_offset_delta);
    PROMISE(ks_batch_size(written, found) == found);
    PROMISE(header.base_offset != 0 || last_offset == header.last_offset_delta);

    int32_t sequence =
        ks_sequence_add(header.base_sequence & INT32_MAX, header.last_offset_delta & INT32_MAX);
    PROMISE(sequence >= 0);
    return 0;
}
