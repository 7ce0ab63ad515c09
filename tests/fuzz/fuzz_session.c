// The files of conversations: header, sizes and text. Digests would stop every mutation at once, so
// the fuzzer's input gets the right ones first. What is believed must lie inside the file, and a
// text that is taken must be a conversation.
#include "app/saved_session.h"

#include "backend/backend.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    TEXT_BYTES_AT = 16,
    TEXT_DIGEST_AT = 112,
    OWN_DIGEST_AT = SAVED_HEADER_BYTES - DIGEST_BYTES
};

static void check_text(const uint8_t *text, size_t size)
{
    json_t *json = NULL, *message;
    struct err e = {0};
    size_t i;
    int rc = saved_parse_text((const char *)text, size, "input", &json, &e);
    CHECK(rc == 0 || (rc < 0 && e.text[0] && !json));
    if (rc)
        return;
    json_t *messages = json_object_get(json, "messages");
    CHECK(messages || json_is_string(json_object_get(json, "text")));
    json_array_foreach(messages, i, message)
    {
        CHECK(json_string_value(json_object_get(message, "role")));
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saved_header h;
    struct err e = {0};
    uint8_t *file = malloc(size + 1);
    CHECK(file);
    memcpy(file, data, size);
    if (size >= SAVED_HEADER_BYTES) {
        uint64_t text_bytes;
        memcpy(&text_bytes, file + TEXT_BYTES_AT, sizeof text_bytes);
        if (text_bytes <= size - SAVED_HEADER_BYTES) {
            struct digest d = digest_of(file + SAVED_HEADER_BYTES, (size_t)text_bytes);
            memcpy(file + TEXT_DIGEST_AT, d.bytes, DIGEST_BYTES);
        }
        struct digest d = digest_of(file, OWN_DIGEST_AT);
        memcpy(file + OWN_DIGEST_AT, d.bytes, DIGEST_BYTES);
    }
    int rc = saved_parse(file, size, size, "input", &h, &e);
    CHECK(rc == 0 || (rc < 0 && e.text[0]));
    if (!rc) {
        uint64_t tokens = h.n_tokens * sizeof(int32_t), pages = h.n_pages * h.page_bytes;
        CHECK(h.text_bytes <= size && tokens <= size && pages <= size);
        CHECK(SAVED_HEADER_BYTES + h.text_bytes + tokens + pages == size);
        CHECK(!h.n_pages || (h.n_pages - 1) * KV_PAGE_TOKENS < h.n_tokens);
        check_text(file + SAVED_HEADER_BYTES, (size_t)h.text_bytes);
    }
    check_text(data, size);
    free(file);
    return 0;
}
