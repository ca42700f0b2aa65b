/* Runs a target on files, for compilers without libFuzzer: what a fuzzer found once is looked at in every
 * test run. */
#include "fuzz.h"

static void replay(const char *name) {
    FILE *file = fopen(name, "rb");
    PROMISE(file != NULL);
    PROMISE(fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    PROMISE(size >= 0);
    rewind(file);
    uint8_t *data = malloc((size_t)size);
    PROMISE(data != NULL || size == 0);
    PROMISE(fread(data, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

int main(int count, char **names) {
    for (int n = 1; n < count; n++)
        replay(names[n]);
    return 0;
}
