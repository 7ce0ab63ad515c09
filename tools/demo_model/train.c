// Trains the demo model: tokenizer, transformer, GGUF file.
//
//     train vocab CORPUS VOCAB                         learn the tokenizer
//     train fit CORPUS HELD_OUT VOCAB CHECKPOINT ...   train, or go on from the checkpoint
//     train gguf VOCAB CHECKPOINT FILE NAME [q8]       write a GGUF file, F16 or Q8_0
//     train encode VOCAB                               show the tokens of standard input
//
// The model is a llama: RMS norms, rotary positions on adjacent pairs, grouped-query attention,
// SwiGLU, one matrix for embedding and output. Documents never see each other, and each starts at
// position 0.
#include "bpe.h"
#include "corpus.h"
#include "export.h"
#include "memory.h"
#include "model.h"
#include "trainer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct bpe *load_vocab(const char *path)
{
    struct bpe *bpe = bpe_load(path);
    if (!bpe) {
        fprintf(stderr, "train: cannot read the tokenizer %s\n", path);
        exit(1);
    }
    return bpe;
}

static int command_vocab(char **argv)
{
    size_t length;
    char *text = corpus_read_file(argv[0], &length);
    struct bpe *bpe = bpe_learn(text, length);
    int ok = bpe_save(bpe, argv[1]);
    bpe_free(bpe);
    free(text);
    return ok ? 0 : 1;
}

static int command_encode(char **argv)
{
    struct bpe *bpe = load_vocab(argv[0]);
    size_t length;
    char *text = corpus_read_file("-", &length);
    uint16_t *tokens = memory_checked(malloc((length + 1) * sizeof *tokens));
    for (size_t i = 0; i < length;) {
        int special = 0;
        size_t mark;
        size_t end = corpus_find_special(text, i, length, &special, &mark);
        size_t count = bpe_encode(bpe, text + i, end - i, tokens);
        for (size_t k = 0; k < count; k++)
            printf("%d\n", tokens[k]);
        if (mark)
            printf("%d\n", bpe->first_special + special);
        i = end + mark;
    }
    free(tokens);
    free(text);
    bpe_free(bpe);
    return 0;
}

static void read_option(const char *option, struct shape *shape, struct settings *settings)
{
    struct {
        const char *name;
        int *value;
    } numbers[] = {{"dim", &shape->dim},           {"layers", &shape->layers},
                   {"heads", &shape->heads},       {"kv", &shape->kv_heads},
                   {"ffn", &shape->ffn},           {"context", &shape->context},
                   {"steps", &settings->steps},    {"tokens", &settings->tokens},
                   {"threads", &settings->threads}};
    const char *equals = strchr(option, '=');
    size_t length = equals ? (size_t)(equals - option) : 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (length == strlen(numbers[i].name) && !memcmp(option, numbers[i].name, length)) {
            *numbers[i].value = atoi(equals + 1);
            return;
        }
    }
    if (length == 4 && memcmp(option, "rate", 4) == 0) {
        settings->rate = (float)atof(equals + 1);
        return;
    }
    fprintf(stderr, "train: unknown option %s\n", option);
    exit(2);
}

static int command_fit(int argc, char **argv)
{
    struct shape shape = {256, 8, 8, 4, 512, BPE_VOCAB, 512};
    struct settings settings = {
        .threads = 2, .steps = 2000, .tokens = 1024, .rate = 0.0012f, .decay = 0.05f};
    for (int i = 4; i < argc; i++)
        read_option(argv[i], &shape, &settings);
    if (settings.threads < 1 || settings.threads > TRAINER_MAX_THREADS) {
        fprintf(stderr, "train: threads must be from 1 to %d\n", TRAINER_MAX_THREADS);
        return 2;
    }
    struct bpe *bpe = load_vocab(argv[2]);
    shape.vocab = bpe->size;
    struct corpus corpus = corpus_read(bpe, argv[0]);
    struct corpus held_out = corpus_read(bpe, argv[1]);
    struct model *model = model_load(argv[3]);
    if (!model)
        model = model_new(shape);
    printf("%.2fM weights; %zu documents, %.2fM tokens; from step %d\n",
           1e-6 * (double)model->count, corpus.documents,
           1e-6 * (double)corpus.start[corpus.documents], model->step);
    trainer_run(model, &settings, &corpus, &held_out, argv[3]);
    corpus_free(&corpus);
    corpus_free(&held_out);
    model_free(model);
    bpe_free(bpe);
    return 0;
}

static int command_gguf(int argc, char **argv)
{
    struct bpe *bpe = load_vocab(argv[0]);
    struct model *model = model_load(argv[1]);
    if (!model) {
        fprintf(stderr, "train: cannot read the checkpoint %s\n", argv[1]);
        return 1;
    }
    int quantize = argc == 5 && strcmp(argv[4], "q8") == 0;
    int ok = export_gguf(model, bpe, argv[2], argv[3], quantize);
    model_free(model);
    bpe_free(bpe);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "vocab") == 0 && argc == 4)
        return command_vocab(argv + 2);
    if (strcmp(command, "fit") == 0 && argc >= 6)
        return command_fit(argc - 2, argv + 2);
    if (strcmp(command, "gguf") == 0 && (argc == 6 || argc == 7))
        return command_gguf(argc - 2, argv + 2);
    if (strcmp(command, "encode") == 0 && argc == 3)
        return command_encode(argv + 2);
    fprintf(stderr, "usage: train vocab CORPUS VOCAB\n"
                    "       train fit CORPUS HELD_OUT VOCAB CHECKPOINT [name=value ...]\n"
                    "       train gguf VOCAB CHECKPOINT FILE NAME [q8]\n"
                    "       train encode VOCAB\n");
    return 2;
}
