// Writes the model as a GGUF version 3 file.
//
// The header holds the keys, the tokenizer and a table of tensors; the data follow, each tensor
// aligned. The output matrix is the embedding, so it is not written twice.
#include "export.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32, TENSORS_PER_LAYER = 9 };
enum {
    TYPE_UINT32 = 4,
    TYPE_INT32 = 5,
    TYPE_FLOAT32 = 6,
    TYPE_BOOL = 7,
    TYPE_STRING = 8,
    TYPE_ARRAY = 9
};
enum { TENSOR_F32 = 0, TENSOR_F16 = 1, TENSOR_Q8_0 = 8 };
enum { FILE_F16 = 1, FILE_Q8_0 = 7, Q8_BLOCK = 32, Q8_BLOCK_BYTES = 34 };
enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3 };

static const char chat_template[] =
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

struct tensor {
    char name[64];
    int rows; // 0 for a vector
    int columns;
    int type;
    const float *data;
};

struct writer {
    FILE *file;
    uint64_t keys; // counted while they are written, filled in at the end
};

static void put_number(struct writer *w, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        fputc((int)(value >> (8 * i) & 255), w->file);
}

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void put_text(struct writer *w, const char *text, size_t length)
{
    put_number(w, length, 8);
    fwrite(text, 1, length, w->file);
}

static void put_key(struct writer *w, const char *key, int type)
{
    put_text(w, key, strlen(key));
    put_number(w, (uint64_t)type, 4);
    w->keys++;
}

static void key_number(struct writer *w, const char *key, int value)
{
    put_key(w, key, TYPE_UINT32);
    put_number(w, (uint64_t)value, 4);
}

static void key_float(struct writer *w, const char *key, float value)
{
    put_key(w, key, TYPE_FLOAT32);
    put_number(w, float_bits(value), 4);
}

static void key_bool(struct writer *w, const char *key, int value)
{
    put_key(w, key, TYPE_BOOL);
    put_number(w, value != 0, 1);
}

static void key_text(struct writer *w, const char *key, const char *value)
{
    put_key(w, key, TYPE_STRING);
    put_text(w, value, strlen(value));
}

static void key_array(struct writer *w, const char *key, int type, int count)
{
    put_key(w, key, TYPE_ARRAY);
    put_number(w, (uint64_t)type, 4);
    put_number(w, (uint64_t)count, 8);
}

// To the nearest half-precision number, ties to even.
static uint16_t to_half(float value)
{
    uint32_t bits = float_bits(value);
    uint32_t sign = bits >> 16 & 0x8000;
    int exponent = (int)(bits >> 23 & 255) - 127 + 15;
    uint32_t fraction = bits & 0x7FFFFF;
    if (exponent >= 31)
        return (uint16_t)(sign | 0x7C00);
    int shift = 13;
    if (exponent <= 0) {
        if (exponent < -10)
            return (uint16_t)sign;
        fraction |= 0x800000;
        shift += 1 - exponent;
        exponent = 0;
    }
    uint32_t half = (uint32_t)exponent << 10 | fraction >> shift;
    uint32_t rest = fraction & ((1u << shift) - 1);
    uint32_t middle = 1u << (shift - 1);
    half += rest > middle || (rest == middle && (half & 1));
    return (uint16_t)(sign | half);
}

// Byte-level BPE writes each byte as a printable character: itself where it is one, else the next
// free character from 256 on.
static int byte_character(int byte)
{
    int next = 256;
    for (int b = 0; b < 256; b++) {
        int printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte)
            return printable ? b : next;
        next += !printable;
    }
    return 0;
}

static size_t printable_token(const struct bpe *bpe, int token, char *out)
{
    size_t length = 0;
    for (int i = 0; i < bpe->length[token]; i++) {
        int c = byte_character((unsigned char)bpe->text[token][i]);
        if (c < 128) {
            out[length++] = (char)c;
        } else {
            out[length++] = (char)(0xC0 | c >> 6);
            out[length++] = (char)(0x80 | (c & 63));
        }
    }
    return length;
}

static void put_tokenizer(struct writer *w, const struct bpe *bpe)
{
    char text[4 * BPE_TOKEN_BYTES + 1];
    key_text(w, "tokenizer.ggml.model", "gpt2");
    key_text(w, "tokenizer.ggml.pre", "qwen2");
    key_array(w, "tokenizer.ggml.tokens", TYPE_STRING, bpe->size);
    for (int i = 0; i < bpe->size; i++)
        put_text(w, text, printable_token(bpe, i, text));
    key_array(w, "tokenizer.ggml.token_type", TYPE_INT32, bpe->size);
    for (int i = 0; i < bpe->size; i++)
        put_number(w, i < bpe->first_special ? TOKEN_NORMAL : TOKEN_CONTROL, 4);
    key_array(w, "tokenizer.ggml.merges", TYPE_STRING, bpe->first_special - BPE_BYTES);
    for (int i = BPE_BYTES; i < bpe->first_special; i++) {
        size_t length = printable_token(bpe, bpe->left[i], text);
        text[length++] = ' ';
        length += printable_token(bpe, bpe->right[i], text + length);
        put_text(w, text, length);
    }
    int end_of_text = bpe->first_special + SPECIAL_END_OF_TEXT;
    key_number(w, "tokenizer.ggml.bos_token_id", end_of_text);
    key_number(w, "tokenizer.ggml.eos_token_id", end_of_text);
    key_number(w, "tokenizer.ggml.eot_token_id", bpe->first_special + SPECIAL_IM_END);
    key_number(w, "tokenizer.ggml.padding_token_id", end_of_text);
    key_bool(w, "tokenizer.ggml.add_bos_token", 0);
    key_text(w, "tokenizer.chat_template", chat_template);
}

static void put_keys(struct writer *w, const struct model *model, const struct bpe *bpe,
                     const char *name, int type)
{
    const struct shape *s = &model->shape;
    key_text(w, "general.architecture", "llama");
    key_text(w, "general.name", name);
    key_text(w, "general.description",
             "A tiny storyteller, trained from scratch on generated text for demos and tests");
    key_number(w, "general.file_type", type == TENSOR_Q8_0 ? FILE_Q8_0 : FILE_F16);
    if (type == TENSOR_Q8_0)
        key_number(w, "general.quantization_version", 2);
    key_number(w, "llama.context_length", s->context);
    key_number(w, "llama.embedding_length", s->dim);
    key_number(w, "llama.block_count", s->layers);
    key_number(w, "llama.feed_forward_length", s->ffn);
    key_number(w, "llama.attention.head_count", s->heads);
    key_number(w, "llama.attention.head_count_kv", s->kv_heads);
    key_float(w, "llama.attention.layer_norm_rms_epsilon", NORM_EPSILON);
    key_number(w, "llama.rope.dimension_count", head_dim(s));
    key_float(w, "llama.rope.freq_base", ROPE_BASE);
    key_number(w, "llama.vocab_size", s->vocab);
    put_tokenizer(w, bpe);
}

static void name_tensor(struct tensor *tensor, int layer, const char *name, int rows, int columns,
                        const float *data)
{
    if (layer < 0)
        snprintf(tensor->name, sizeof tensor->name, "%s.weight", name);
    else
        snprintf(tensor->name, sizeof tensor->name, "blk.%d.%s.weight", layer, name);
    tensor->rows = rows;
    tensor->columns = columns;
    tensor->data = data;
}

// Matrices get the type asked for; vectors stay in single precision.
static int list_tensors(const struct model *model, int type, struct tensor *list)
{
    const struct shape *s = &model->shape;
    const float *w = model->weights;
    int dim = s->dim;
    int kv = kv_dim(s);
    size_t square = (size_t)dim * (size_t)dim;
    size_t narrow = (size_t)dim * (size_t)kv;
    struct tensor *next = list;
    name_tensor(next++, -1, "token_embd", s->vocab, dim, w + model->embedding);
    name_tensor(next++, -1, "output_norm", 0, dim, w + model->final_norm);
    for (int l = 0; l < s->layers; l++) {
        const struct layer_at *at = &model->layer[l];
        const float *qkv = w + at->qkv;
        const float *gate = w + at->gate_up;
        name_tensor(next++, l, "attn_norm", 0, dim, w + at->attn_norm);
        name_tensor(next++, l, "attn_q", dim, dim, qkv);
        name_tensor(next++, l, "attn_k", kv, dim, qkv + square);
        name_tensor(next++, l, "attn_v", kv, dim, qkv + square + narrow);
        name_tensor(next++, l, "attn_output", dim, dim, w + at->out);
        name_tensor(next++, l, "ffn_norm", 0, dim, w + at->ffn_norm);
        name_tensor(next++, l, "ffn_gate", s->ffn, dim, gate);
        name_tensor(next++, l, "ffn_up", s->ffn, dim, gate + (size_t)s->ffn * (size_t)dim);
        name_tensor(next++, l, "ffn_down", dim, s->ffn, w + at->down);
    }
    for (struct tensor *tensor = list; tensor < next; tensor++)
        tensor->type = tensor->rows ? type : TENSOR_F32;
    return (int)(next - list);
}

static size_t tensor_floats(const struct tensor *tensor)
{
    return (size_t)tensor->columns * (size_t)(tensor->rows ? tensor->rows : 1);
}

static size_t tensor_bytes(const struct tensor *tensor)
{
    size_t count = tensor_floats(tensor);
    return tensor->type == TENSOR_Q8_0  ? count / Q8_BLOCK * Q8_BLOCK_BYTES
           : tensor->type == TENSOR_F16 ? count * 2
                                        : count * 4;
}

static size_t aligned(size_t size)
{
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put_table(struct writer *w, const struct tensor *list, int count)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        put_text(w, list[i].name, strlen(list[i].name));
        put_number(w, list[i].rows ? 2 : 1, 4);
        put_number(w, (uint64_t)list[i].columns, 8);
        if (list[i].rows)
            put_number(w, (uint64_t)list[i].rows, 8);
        put_number(w, (uint64_t)list[i].type, 4);
        put_number(w, offset, 8);
        offset += aligned(tensor_bytes(&list[i]));
    }
}

static void pad(struct writer *w)
{
    while (ftell(w->file) % ALIGNMENT)
        fputc(0, w->file);
}

// A block of bytes with one half-precision scale.
static void put_q8_block(struct writer *w, const float *x)
{
    float top = 0.0f;
    for (int i = 0; i < Q8_BLOCK; i++)
        top = fmaxf(top, fabsf(x[i]));
    float scale = top / 127.0f;
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    put_number(w, to_half(scale), 2);
    for (int i = 0; i < Q8_BLOCK; i++)
        put_number(w, (uint64_t)(int64_t)lroundf(x[i] * inverse), 1);
}

static void put_data(struct writer *w, const struct tensor *tensor)
{
    size_t count = tensor_floats(tensor);
    for (size_t i = 0; i < count; i++)
        if (tensor->type == TENSOR_F32)
            put_number(w, float_bits(tensor->data[i]), 4);
        else if (tensor->type == TENSOR_F16)
            put_number(w, to_half(tensor->data[i]), 2);
        else if (i % Q8_BLOCK == 0)
            put_q8_block(w, tensor->data + i);
    pad(w);
}

int export_gguf(const struct model *model, const struct bpe *bpe, const char *path,
                const char *name, int quantize)
{
    int type = quantize ? TENSOR_Q8_0 : TENSOR_F16;
    static const long keys_at = 16;
    struct tensor *list =
        calloc((size_t)(2 + model->shape.layers * TENSORS_PER_LAYER), sizeof *list);
    struct writer w = {fopen(path, "wb"), 0};
    if (!w.file || !list) {
        free(list);
        return 0;
    }
    int count = list_tensors(model, type, list);
    fwrite("GGUF", 1, 4, w.file);
    put_number(&w, 3, 4);
    put_number(&w, (uint64_t)count, 8);
    put_number(&w, 0, 8);
    put_keys(&w, model, bpe, name, type);
    put_table(&w, list, count);
    pad(&w);
    for (int i = 0; i < count; i++)
        put_data(&w, &list[i]);
    fseek(w.file, keys_at, SEEK_SET);
    put_number(&w, w.keys, 8);
    int ok = !ferror(w.file);
    free(list);
    return fclose(w.file) == 0 && ok;
}
