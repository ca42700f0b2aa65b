/* A segment: the scan of a chunk finds batch after batch without a gap, and a walk over the same bytes in a
 * file finds the same ones.
 *
 * Input: room for extents (a byte), then the chunk.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "ks_scan.h"

/* The walk over a file costs system calls, so one input in sixteen is walked. */
static void walk(const uint8_t *chunk, size_t size, const struct ks_extent *extents, size_t count) {
    static int file = -1;
    if (file < 0)
        file = memfd_create("segment", 0);
    PROMISE(file >= 0);
    PROMISE(ftruncate(file, 0) == 0);
    PROMISE(pwrite(file, chunk, size, 0) == (ssize_t)size);
    struct ks_walk walk;
    const uint8_t *header;
    ks_walk_start(&walk, file, 0, (int64_t)size, true);
    for (size_t n = 0; n < count; n++) {
        PROMISE(ks_walk_next(&walk, &header) == 1);
        PROMISE(walk.position == extents[n].position && walk.size == extents[n].size);
        PROMISE(memcmp(header, chunk + extents[n].position, KS_BATCH_HEADER_SIZE) == 0);
    }
    struct ks_found found;
    ks_walk_start(&walk, file, 0, (int64_t)size, true);
    if (ks_walk_to_offset(&walk, 1000, &found) == 1)
        PROMISE(found.last_offset >= 1000 && found.position + found.size <= (int64_t)size);
    ks_walk_start(&walk, file, 0, (int64_t)size, true);
    if (ks_walk_to_timestamp(&walk, 1000, &found) == 1)
        PROMISE(found.max_timestamp >= 1000);
    ks_walk_start(&walk, file, 0, (int64_t)size, true);
    ks_walk_to_largest_timestamp(&walk, &found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    size_t room = data[0];
    const uint8_t *chunk = data + 1;
    size -= 1;
    struct ks_extent *extents = malloc(room * sizeof *extents);
    PROMISE(extents != NULL || room == 0);
    struct ks_scan_result result;
    ks_scan(chunk, chunk + size, extents, room, &result);
    PROMISE(result.count <= room && result.consumed <= size);
    size_t position = 0;
    for (size_t n = 0; n < result.count; n++) {
        PROMISE(extents[n].position == position);
        PROMISE(ks_batch_size(chunk + position, (int64_t)(size - position)) == extents[n].size);
        position += extents[n].size;
    }
    PROMISE(position == result.consumed);
    if (result.status == KS_OK)
        PROMISE(result.count == room || result.consumed == size);
    else
        PROMISE(ks_batch_size(chunk + position, (int64_t)(size - position)) == result.status);
    if (size > 0 && size % 16 == 0)
        walk(chunk, size, extents, result.count);
    free(extents);
    return 0;
}
