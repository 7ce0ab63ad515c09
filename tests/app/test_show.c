// rondo show: every page and its JSON, with strings that would play tricks on a terminal.
#include "support.h"

#include "app/printable.h"
#include "app/show.h"
#include "app/verbs.h"
#include "gguf_bytes.h"
#include "verb_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *shown(char **argv, int argc)
{
    int rc;
    struct err e = {0};
    char *text = verb_output(&verb_show, argc, argv, &rc, &e);
    assert_ok(rc, &e);
    return text;
}

#define TRICK                                  \
    "a\x1b[2J\r\n\x7f\xff\xe2\x80\xae\xc2\x9b" \
    "b"

static const char *write_model(const char *name)
{
    struct gguf_bytes b = {0};
    const char *path = test_file(name);
    bytes_prefix(&b, 3, 7, 6);
    bytes_key_string(&b, "general.architecture", "llama");
    bytes_key_string(&b, "general.name", "fixture " TRICK);
    bytes_key_u32(&b, "llama.block_count", 3);
    bytes_key_u32(&b, "llama.embedding_length", 32);
    bytes_key(&b, "trick " TRICK, GGUF_F32);
    bytes_u32(&b, 0x7fc00000); // NaN, which JSON does not have
    bytes_key(&b, "long", GGUF_ARRAY);
    bytes_u32(&b, GGUF_U8);
    bytes_u64(&b, 300);
    bytes_zeros(&b, 300);
    bytes_tensor(&b, "token_embd.weight", 2, (uint64_t[]){32, 4}, WT_F32, 0);
    bytes_tensor(&b, "blk.0.w", 2, (uint64_t[]){32, 4}, WT_Q8_0, 512);
    bytes_tensor(&b, "blk.1.w", 2, (uint64_t[]){32, 4}, WT_F16, 672);
    bytes_tensor(&b, "blk.2.w", 2, (uint64_t[]){32, 4}, WT_Q8_0, 928);
    bytes_tensor(&b, "blk.99999999999.w", 1, (uint64_t[]){32}, WT_I8, 1088);
    bytes_tensor(&b, "blk.-1.w", 1, (uint64_t[]){32}, WT_I8, 1120);
    bytes_tensor(&b, "t" TRICK, 1, (uint64_t[]){32}, WT_I8, 1152);
    bytes_align(&b, 32);
    bytes_zeros(&b, 1184);
    test_write(path, b.data, b.size);
    bytes_free(&b);
    return path;
}

static void assert_shows(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void a_page_shows_weights_layers_keys_and_tensors(void **state)
{
    (void)state;
    char *path = strdup(write_model("model.gguf"));
    char *text = shown((char *[]){path}, 1);
    assert_shows(text, "architecture  llama\n");
    assert_shows(text, "weights       608 parameters in 1.11 KiB, 14.95 bits each\n");
    assert_shows(text, "shape         3 layers, 32 wide\n");
    assert_shows(text, "  0                 136 B       Q8_0\n");
    assert_shows(text, "  1                 256 B       F16\n");
    assert_shows(text, "  output             96 B       I8\n");
    assert_shows(text, "300 [0, 0, 0, 0, 0, 0, ...]");
    assert_shows(text, "136 B each, layers 0, 2\n");
    assert_shows(text, "blk.*.w ");
    assert_shows(text, "blk.1.w ");
    for (const char *c = text; *c; c++)
        assert_true(*c == '\n' || ((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f));
    assert_shows(text, "fixture a\\x1b[2J\\x0d\\n\\x7f\\xff\\xe2\\x80\\xae\\xc2\\x9bb\n");
    free(text);
    text = shown((char *[]){path, "--full"}, 2);
    assert_shows(text, "blk.0.w ");
    assert_shows(text, "blk.2.w ");
    assert_null(strstr(text, "..."));
    free(text);
    free(path);
}

static void the_json_holds_all_and_is_valid(void **state)
{
    (void)state;
    char *path = strdup(write_model("json.gguf"));
    for (int full = 0; full < 2; full++) {
        char *text = shown((char *[]){path, "--json", "--full"}, 2 + full);
        json_error_t error;
        json_t *json = json_loads(text, 0, &error);
        if (!json)
            fail_msg("%s: %s", error.text, text);
        json_t *keys = json_object_get(json, "metadata"), *array = json_object_get(keys, "long");
        assert_int_equal(json_object_size(keys), 6);
        assert_int_equal(json_integer_value(json_object_get(keys, "llama.block_count")), 3);
        if (full)
            assert_int_equal(json_array_size(array), 300);
        else
            assert_int_equal(json_integer_value(json_object_get(array, "count")), 300);
        json_t *layers = json_object_get(json, "layers"),
               *tensors = json_object_get(json, "tensors");
        assert_int_equal(json_array_size(layers), 3);
        assert_int_equal(json_array_size(tensors), 7);
        json_t *bytes = json_object_get(json_array_get(layers, 2), "bytes");
        assert_int_equal(json_integer_value(bytes), 136);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(json, "weights"), "bytes")), 1136);
        json_decref(json);
        free(text);
    }
    free(path);
}

static void text_is_cut_at_columns_not_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int columns;
        const char *shown;
    } cases[] = {
        {"short", 5, "short"},  {"longer", 5, "lo..."},  {"größe", 5, "größe"},
        {"größen", 5, "gr..."}, {"日本語", 6, "日本語"}, {"日本語", 5, "日..."},
        {"a\nb", 4, "a\\nb"},   {"a\nb", 3, "..."},      {"\xf0\x9f\x98", 12, "\\xf0\\x9f\\x98"},
        {"😀", 2, "😀"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&out, &size);
        int used = printable_put(f, cases[i].text, strlen(cases[i].text), cases[i].columns);
        fclose(f);
        assert_string_equal(out, cases[i].shown);
        assert_true(used <= cases[i].columns);
        assert_int_equal(used, printable_columns(out, size));
        free(out);
    }
    size_t length;
    char *valid = printable_utf8("a\xff\xe2\x82z", 5, &length);
    assert_int_equal(length, 11);
    assert_memory_equal(valid, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz", 11);
    free(valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_shows_weights_layers_keys_and_tensors),
        cmocka_unit_test(the_json_holds_all_and_is_valid),
        cmocka_unit_test(text_is_cut_at_columns_not_bytes),
    };
    return cmocka_run_group_tests_name("show", tests, NULL, NULL);
}
