/* A stream of frames: however it is cut into pieces, the same frames come out, none of them reaching beyond
 * its bytes.
 *
 * Input: the size of a piece (a byte), the limit of a frame (a byte), then the stream.
 */
#include "fuzz.h"
#include "ks_frame.h"

struct outcome {
    size_t frames, consumed;
    int64_t status;
};

/* Takes frames off a stream of which `available` bytes have come so far. */
static void take(struct outcome *outcome, const uint8_t *stream, size_t available, int64_t max) {
    for (;;) {
        const uint8_t *p = stream + outcome->consumed;
        size_t left = available - outcome->consumed;
        outcome->status = ks_frame_length(p, left, max);
        if (outcome->status < 0)
            return;
        PROMISE(outcome->status <= max);
        PROMISE((uint64_t)outcome->status + KS_FRAME_OVERHEAD <= left);
        outcome->consumed += KS_FRAME_OVERHEAD + (size_t)outcome->status;
        outcome->frames++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    size_t piece = (size_t)data[0] + 1;
    int64_t max = data[1];
    const uint8_t *stream = data + 2;
    size -= 2;

    struct outcome whole = {0, 0, KS_ETRUNCATED}, pieces = {0, 0, KS_ETRUNCATED};
    take(&whole, stream, size, max);
    for (size_t come = 0; pieces.status == KS_ETRUNCATED && come < size;) {
        come = size - come < piece ? size : come + piece;
        uint8_t *copy = malloc(come); /* what has not come yet may not be read */
        PROMISE(copy != NULL);
        memcpy(copy, stream, come);
        take(&pieces, copy, come, max);
        free(copy);
    }
    PROMISE(whole.frames == pieces.frames && whole.consumed == pieces.consumed);
    PROMISE(whole.status == pieces.status);
    PROMISE(whole.status != KS_ETRUNCATED || size - whole.consumed < (size_t)max + KS_FRAME_OVERHEAD);
    return 0;
}
