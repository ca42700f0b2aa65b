#include "ks_scan.h"

#include "ks_file.h"

void ks_scan(const uint8_t *p, const uint8_t *limit, struct ks_extent *extents, size_t room,
             struct ks_scan_result *result) {
    const uint8_t *start = p;
    result->count = 0;
    result->status = KS_OK;
    while (p < limit && result->count < room) {
        int64_t size = ks_batch_size(p, limit - p);
        if (size < 0) {
            result->status = size;
            break;
        }
        extents[result->count].position = (uint32_t)(p - start);
        extents[result->count].size = (uint32_t)size;
        result->count++;
        p += size;
    }
    result->consumed = (size_t)(p - start);
}

void ks_walk_start(struct ks_walk *walk, int fd, int64_t position, int64_t end, bool wait) {
    walk->fd = fd;
    walk->next = position;
    walk->end = end;
    walk->position = position;
    walk->size = 0;
    walk->window_start = position;
    walk->window_size = 0;
    walk->wait = wait;
}

/* Makes the header at `walk->next` readable, as far as the file goes. The bytes of it in the window, or
 * -errno. */
static int64_t fill(struct ks_walk *walk, const uint8_t **header) {
    int64_t offset = walk->next - walk->window_start;
    if (offset < 0 || offset + KS_BATCH_HEADER_SIZE > walk->window_size) {
        /* After a batch larger than the window the next header is most likely alone in it, too. */
        int64_t size = walk->size > KS_WALK_WINDOW ? KS_BATCH_HEADER_SIZE : KS_WALK_WINDOW;
        if (size > walk->end - walk->next)
            size = walk->end - walk->next;
        int64_t n = ks_file_read(walk->fd, walk->window, (size_t)size, walk->next, walk->wait);
        walk->window_start = walk->next;
        walk->window_size = n < 0 ? 0 : n;
        if (n < 0)
            return n;
        offset = 0;
    }
    *header = walk->window + offset;
    return walk->window_size - offset;
}

int64_t ks_walk_next(struct ks_walk *walk, const uint8_t **header) {
    int64_t available = walk->end - walk->next;
    if (available < KS_HEADER_UP_TO_MAGIC)
        return 0;
    int64_t readable = fill(walk, header);
    if (readable < 0)
        return readable;
    if (readable < KS_HEADER_UP_TO_MAGIC)
        return 0; /* the file is shorter than we were told */
    int64_t size = ks_batch_size(*header, available);
    if (size == KS_ETRUNCATED)
        return 0;
    if (size < 0)
        return size;
    if (readable < KS_BATCH_HEADER_SIZE)
        return 0;
    walk->position = walk->next;
    walk->size = size;
    walk->next += size;
    return 1;
}

static void describe(const struct ks_walk *walk, const uint8_t *header, struct ks_found *found) {
    found->base_offset = ks_load64(header + KS_BATCH_BASE_OFFSET);
    found->last_offset = ks_batch_last_offset(header);
    found->position = walk->position;
    found->size = walk->size;
    found->max_timestamp = ks_load64(header + KS_BATCH_MAX_TIMESTAMP);
    found->leader_epoch = ks_load32(header + KS_BATCH_LEADER_EPOCH);
}

int64_t ks_walk_to_offset(struct ks_walk *walk, int64_t target, struct ks_found *found) {
    const uint8_t *header;
    int64_t status;
    while ((status = ks_walk_next(walk, &header)) == 1) {
        if (ks_batch_last_offset(header) >= target) {
            describe(walk, header, found);
            break;
        }
    }
    return status;
}

int64_t ks_walk_to_timestamp(struct ks_walk *walk, int64_t timestamp, struct ks_found *found) {
    const uint8_t *header;
    int64_t status;
    while ((status = ks_walk_next(walk, &header)) == 1) {
        if (ks_load64(header + KS_BATCH_MAX_TIMESTAMP) >= timestamp) {
            describe(walk, header, found);
            break;
        }
    }
    return status;
}

int64_t ks_walk_to_largest_timestamp(struct ks_walk *walk, struct ks_found *found) {
    const uint8_t *header;
    int64_t status;
    int64_t any = 0;
    while ((status = ks_walk_next(walk, &header)) == 1) {
        if (!any || ks_load64(header + KS_BATCH_MAX_TIMESTAMP) > found->max_timestamp)
            describe(walk, header, found);
        any = 1;
    }
    return status < 0 ? status : any;
}
