/* Index entries: the search finds what a walk over sorted entries finds, and stays inside those that are not
 * sorted.
 *
 * Input: which field (a byte), the target (8 bytes), then entries.
 */
#include "fuzz.h"
#include "ks_bytes.h"
#include "ks_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 9)
        return 0;
    const struct ks_index_field fields[] = {KS_OFFSET_KEY, KS_OFFSET_POSITION, KS_TIME_KEY, KS_TIME_OFFSET};
    struct ks_index_field field = fields[data[0] % 4];
    int64_t target = ks_load64(data + 1);
    if (data[0] & 0x80) /* near the values that entries of four bytes have */
        target = (int32_t)target;
    const uint8_t *entries = data + 9;
    size_t count = (size - 9) / (size_t)field.entry_size;

    size_t found = ks_index_upper_bound(entries, count, field, target);
    PROMISE(found <= count);
    int is_sorted = 1;
    size_t expected = 0;
    for (size_t n = 0; n < count; n++) {
        int64_t value = ks_index_value(entries, n, field);
        is_sorted &= n == 0 || ks_index_value(entries, n - 1, field) <= value;
        expected += value <= target;
    }
    PROMISE(!is_sorted || found == expected);
    return 0;
}
