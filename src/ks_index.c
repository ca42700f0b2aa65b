#include "ks_index.h"

#include "ks_bytes.h"

const struct ks_index_field KS_OFFSET_KEY = {KS_OFFSET_ENTRY, 0, 4};
const struct ks_index_field KS_OFFSET_POSITION = {KS_OFFSET_ENTRY, 4, 4};
const struct ks_index_field KS_TIME_KEY = {KS_TIME_ENTRY, 0, 8};
const struct ks_index_field KS_TIME_OFFSET = {KS_TIME_ENTRY, 8, 4};

int64_t ks_index_value(const uint8_t *entries, size_t n, struct ks_index_field field) {
    const uint8_t *p = entries + n * (size_t)field.entry_size + field.at;
    return field.width == 8 ? ks_load64(p) : ks_load32(p);
}

/* Look-ups mostly ask for what came last, so the newest entries are tried first: a search that ends among
 * them touches few cache lines however long the index is (the warm section of AbstractIndex.java). */
enum { WARM_ENTRIES = 64 };

size_t ks_index_upper_bound(const uint8_t *entries, size_t count, struct ks_index_field field,
                            int64_t target) {
    size_t low = 0;
    size_t high = count;
    if (count > WARM_ENTRIES) {
        size_t warm = count - WARM_ENTRIES;
        if (ks_index_value(entries, warm, field) <= target)
            low = warm + 1;
        else
            high = warm;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ks_index_value(entries, middle, field) <= target)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
