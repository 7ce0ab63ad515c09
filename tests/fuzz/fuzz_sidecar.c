// The header and table of a sidecar. Its table has a digest, which no mutation would ever hit, so
// the fuzzer's input gets the right one first. What is believed must lie inside the file.
#include "weights/sidecar.h"

#include "base/check.h"
#include "kernels/lanes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES = 64, TABLE_DIGEST_AT = 64, COUNT_AT = 16, BYTES_AT = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sidecar_piece pieces[PIECES];
    struct digest key;
    struct err e = {0};
    size_t n = 0;
    uint8_t *file = malloc(size + 1);
    CHECK(file);
    memcpy(file, data, size);
    uint64_t file_bytes = size;
    if (size > SIDECAR_PAGE) {
        uint32_t count;
        memcpy(&count, file + COUNT_AT, sizeof count);
        memcpy(&file_bytes, file + BYTES_AT, sizeof file_bytes);
        size_t table = (size_t)count * SIDECAR_ENTRY_BYTES;
        if (table <= size - SIDECAR_PAGE) {
            struct digest d = digest_of(file + SIDECAR_PAGE, table);
            memcpy(file + TABLE_DIGEST_AT, d.bytes, DIGEST_BYTES);
        }
    }
    int rc = sidecar_parse(file, size, file_bytes, pieces, PIECES, &n, &key, &e);
    CHECK(rc == 0 || (rc < 0 && e.text[0]));
    for (size_t i = 0; !rc && i < n; i++) {
        CHECK(lanes_can(pieces[i].type) && pieces[i].offset % SIDECAR_PAGE == 0);
        CHECK(pieces[i].bytes <= file_bytes && pieces[i].offset <= file_bytes - pieces[i].bytes);
    }
    free(file);
    return 0;
}
