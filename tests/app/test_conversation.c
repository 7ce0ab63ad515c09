// Conversations below the terminal: what is computed again, what is forgotten, and that one that
// was kept goes on with the bits that it would have had without the break.
#include "support.h"

#include "faulty_disk.h"
#include "tiny_model.h"

#include "app/answer_options.h"
#include "app/conversation.h"
#include "app/interrupt.h"
#include "app/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char demo[] = "models/tales-q8_0.gguf"; // tests run in the root of the source

struct talk { // a model, a conversation with it, and what came of the last turn
    struct options options;
    struct loaded loaded;
    struct conversation *c;
    struct answer answer;
    char text[1 << 14];
    size_t n;
    bool forget; // when the context is full
    size_t n_asked, n_forgotten, interrupt_at;
    struct err e;
};

// `line`: options of `rondo run`, with '|' between.
static void talk_open(struct talk *t, const char *model, const char *line)
{
    char words[512], *argv[32];
    struct loaded_wants wants = {.max_sessions = 1};
    int argc = 0;
    *t = (struct talk){0};
    snprintf(words, sizeof words, "%s|--temp|0|--threads|2|%s", model, line);
    for (char *w = strtok(words, "|"); w; w = strtok(NULL, "|"))
        argv[argc++] = w;
    assert_ok(options_parse(&t->options, &verb_run, argc, argv, &t->e), &t->e);
    assert_ok(loaded_open(&t->loaded, model, &t->options, &wants, &t->e), &t->e);
    struct conversation_options o = {.raw = options_flag(&t->options, OPT_RAW),
                                     .kv_type = (enum kv_type)options_enum(&t->options, OPT_KV)};
    assert_ok(conversation_new(&t->c, &t->loaded, &o, &t->e), &t->e);
}

static void talk_close(struct talk *t)
{
    answer_free(&t->answer);
    conversation_free(t->c);
    loaded_close(&t->loaded);
    options_free(&t->options);
}

static bool take(void *arg, enum conversation_part part, const char *text, size_t size)
{
    struct talk *t = arg;
    assert_int_equal(part, CONVERSATION_CONTENT);
    assert_true(t->n + size < sizeof t->text);
    memcpy(t->text + t->n, text, size);
    t->n += size;
    t->text[t->n] = 0;
    if (t->interrupt_at && t->n >= t->interrupt_at)
        raise(SIGINT);
    return true;
}

static bool full(void *arg)
{
    struct talk *t = arg;
    t->n_asked++;
    return t->forget;
}

static void forgot(void *arg, size_t n_turns, size_t n_free)
{
    struct talk *t = arg;
    t->n_forgotten += n_turns;
    assert_true(n_turns > 0 && n_free > 0);
}

static int say_up_to(struct talk *t, const char *text, size_t max_tokens)
{
    struct conversation_turn turn = {
        .text = text,
        .length = strlen(text),
        .max_tokens = max_tokens,
        .sampler = answer_sampler(&t->options),
        .hash = true,
        .take = take,
        .full = full,
        .forgot = forgot,
        .arg = t,
    };
    t->n = 0;
    t->text[0] = 0;
    t->e = (struct err){0};
    answer_free(&t->answer);
    return conversation_say(t->c, &turn, &t->answer, &t->e);
}

static void say(struct talk *t, const char *text, size_t max_tokens)
{
    assert_ok(say_up_to(t, text, max_tokens), &t->e);
}

static const char fox[] = "Tell me a story about a fox.", kite[] = "And one about a kite?";

// ---- turns -------------------------------------------------------------------------------------

static void a_turn_computes_only_what_is_new(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t, demo, "--temp|1.5|--seed|3|--ctx|512"); // tokens as no tokenizer would cut them
    for (size_t held = 0, i = 0; i < 4; i++) {
        say(&t, i ? kite : fox, 40);
        assert_int_equal(t.answer.n_reused, held);
        assert_true(t.answer.n_prompt > held);
        held = conversation_tokens(t.c);
        // The last token drawn is not computed, nor is the one that ends an answer.
        size_t drawn = t.answer.tokens.n - (t.answer.stop == ANSWER_LENGTH);
        assert_int_equal(held, t.answer.n_prompt + drawn);
    }
    assert_int_equal(conversation_turns(t.c), 4);
    conversation_clear(t.c);
    say(&t, fox, 5);
    assert_int_equal(t.answer.n_reused, 0);
    talk_close(&t);
}

// The text that the tokens of the next turn spell, control tokens too.
static char *next_text(struct talk *t, const char *text)
{
    static char out[1 << 14];
    struct ids ids = {0};
    size_t n = 0;
    assert_ok(conversation_encode(t->c, text, strlen(text), &ids, &t->e), &t->e);
    for (size_t i = 0; i < ids.n; i++)
        n += vocab_decode(t->loaded.vocab, ids.id[i], true, out + n, sizeof out - n - 1);
    out[n] = 0;
    ids_free(&ids);
    return out;
}

static void what_was_said_is_what_the_model_sees(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t, demo, "--ctx|512|--temp|1.5|--seed|5");
    assert_ok(conversation_set_system(t.c, "You are a fox.", &t.e), &t.e);
    say(&t, fox, 30);
    const char *at = next_text(&t, kite);
    const char *const parts[] = {"You are a fox.", fox, t.text, kite};
    for (size_t i = 0; i < 4; i++) {
        const char *found = strstr(at, parts[i]);
        if (!found)
            fail_msg("\"%s\" is not in what follows: \"%s\"", parts[i], at);
        at = found + strlen(parts[i]);
    }
    assert_ok(conversation_set_system(t.c, NULL, &t.e), &t.e);
    assert_null(strstr(next_text(&t, kite), "You are a fox."));
    conversation_clear(t.c);
    assert_null(strstr(next_text(&t, kite), fox));
    talk_close(&t);
}

static void an_interrupted_answer_stays_and_an_unanswered_turn_does_not(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t, demo, "--ctx|512");
    interrupt_keep(-1);
    raise(SIGINT); // before the prompt is computed
    say(&t, fox, 40);
    assert_int_equal(t.answer.stop, ANSWER_INTERRUPTED);
    assert_int_equal(t.answer.tokens.n, 0);
    assert_int_equal(conversation_turns(t.c), 0);
    interrupt_clear();
    t.interrupt_at = 20;
    say(&t, fox, 200);
    assert_int_equal(t.answer.stop, ANSWER_INTERRUPTED);
    assert_true(t.n >= 20);
    assert_int_equal(conversation_turns(t.c), 1);
    size_t held = conversation_tokens(t.c);
    interrupt_clear();
    t.interrupt_at = 0;
    say(&t, kite, 1);
    assert_int_equal(t.answer.stop, ANSWER_LENGTH);
    assert_int_equal(t.answer.n_reused, held); // the half answer is part of it
    signal(SIGINT, SIG_DFL);
    talk_close(&t);
}

static void plain_text_is_continued(void **state)
{
    (void)state;
    struct talk parts, whole;
    talk_open(&parts, demo, "--raw|--ctx|256");
    talk_open(&whole, demo, "--raw|--ctx|256");
    assert_false(conversation_chats(parts.c));
    say(&parts, "Once upon a time", 12);
    char first[sizeof parts.text + 64];
    snprintf(first, sizeof first, "Once upon a time%s", parts.text);
    say(&parts, " and then", 12);
    assert_true(parts.answer.n_reused >= 12);
    strncat(first, " and then", sizeof first - strlen(first) - 1);
    say(&whole, first, 12);
    assert_string_equal(whole.text, parts.text);
    assert_int_equal(conversation_set_system(parts.c, "x", &parts.e), ERR_USAGE);
    talk_close(&parts);
    talk_close(&whole);
}

// ---- a full context ----------------------------------------------------------------------------

static void a_full_context_is_declined_or_shifted(void **state)
{
    (void)state;
    struct talk t;
    const char *lines[] = {"--ctx|160", "--raw|--ctx|96"};
    for (int i = 0; i < 2; i++) {
        talk_open(&t, demo, lines[i]);
        if (!i)
            assert_ok(conversation_set_system(t.c, "You tell stories.", &t.e), &t.e);
        int rc = 0;
        for (int k = 0; k < 40 && !t.n_asked && !rc; k++)
            rc = say_up_to(&t, i ? " Once more." : fox, 30);
        assert_int_equal(t.n_asked, 1); // and not a second time for the same turn
        assert_int_equal(t.n_forgotten, 0);
        assert_true(rc == ERR_NO_MEMORY || t.answer.stop == ANSWER_CONTEXT);
        size_t turns = conversation_turns(t.c);
        t.forget = true;
        for (int k = 0; k < 12; k++)
            say(&t, i ? " Once more." : fox, 30);
        assert_true(t.n_forgotten > 0);
        assert_true(i || conversation_turns(t.c) < turns + 12);
        assert_true(conversation_tokens(t.c) <= conversation_room(t.c));
        if (!i)
            assert_string_equal(conversation_system(t.c), "You tell stories.");
        talk_close(&t);
    }
}

static void an_answer_goes_on_behind_a_shift(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t, demo, "--ctx|128");
    say(&t, fox, 60);
    t.forget = true;
    say(&t, kite, 100); // 76 and more are there, so this one meets the end on its way
    assert_int_equal(t.n_asked, 1);
    assert_int_equal(t.n_forgotten, 1);
    assert_true(t.answer.stop == ANSWER_LENGTH || t.answer.stop == ANSWER_END);
    assert_int_equal(conversation_turns(t.c), 1);
    assert_true(t.answer.tokens.n > 20);
    // Of one turn alone nothing can be forgotten.
    size_t asked = t.n_asked;
    conversation_clear(t.c);
    say(&t, fox, 500);
    assert_true(t.answer.stop == ANSWER_CONTEXT || t.answer.stop == ANSWER_END);
    if (t.answer.stop == ANSWER_CONTEXT)
        assert_int_equal(t.n_asked, asked + 1);
    char *longer = malloc(4001);
    for (int i = 0; i < 4000; i++)
        longer[i] = i % 5 ? 'a' : ' ';
    longer[4000] = 0;
    assert_int_equal(say_up_to(&t, longer, 10), ERR_NO_MEMORY);
    assert_non_null(strstr(t.e.text, "the context holds 128"));
    free(longer);
    talk_close(&t);
}

// ---- kept --------------------------------------------------------------------------------------

static void check_resumed(const char *model, const char *line, const char *first,
                          const char *second)
{
    struct talk whole, before, after;
    struct conversation_found found;
    const char *path = test_file("kept.session");
    talk_open(&whole, model, line);
    say(&whole, first, 30);
    say(&whole, second, 30);

    talk_open(&before, model, line);
    say(&before, first, 30);
    assert_ok(conversation_save(before.c, path, &before.e), &before.e);
    size_t kept = conversation_tokens(before.c);
    talk_close(&before);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);

    talk_open(&after, model, line);
    assert_ok(conversation_load(after.c, path, &found, &after.e), &after.e);
    assert_string_equal(found.note, "");
    assert_int_equal(found.n_tokens, kept);
    say(&after, second, 30);
    if (!strcmp(model, demo)) // a random model's text is full of broken characters
        assert_int_equal(after.answer.n_reused, kept);
    assert_string_equal(after.text, whole.text);
    assert_true(whole.answer.tokens.n > 3);
    assert_memory_equal(after.answer.logits.bytes, whole.answer.logits.bytes, DIGEST_BYTES);
    talk_close(&after);
    talk_close(&whole);
}

static void a_kept_conversation_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    check_resumed(demo, "--kv|f16", fox, kite);
    check_resumed(demo, "--kv|f32", fox, kite);
    check_resumed(demo, "--kv|q8_0|--temp|1|--seed|7", fox, kite);
    const char *tiny = test_file("tiny.gguf");
    struct tiny_model window = {.seed = 6, .n_layers = 2, .window = 20, .context = 256};
    tiny_model_write(tiny, &window);
    check_resumed(tiny, "--kv|f16", "Once upon a time there was a fox", " and a kite");
}

static void what_does_not_fit_is_computed_again_and_said(void **state)
{
    (void)state;
    static const struct {
        const char *line, *note;
        size_t turns;
    } cases[] = {
        {"--kv|q8_0", "its cache is of another type than q8_0", 1},
        {"--ctx|40", "are more than the context of 40", 1},
    };
    struct talk t, whole;
    struct conversation_found found;
    const char *path = test_file("kept.session");
    talk_open(&t, demo, "--kv|f16");
    say(&t, fox, 30);
    assert_ok(conversation_save(t.c, path, &t.e), &t.e);
    talk_close(&t);
    for (size_t i = 0; i < 2; i++) {
        talk_open(&t, demo, cases[i].line);
        assert_ok(conversation_load(t.c, path, &found, &t.e), &t.e);
        assert_non_null(strstr(found.note, cases[i].note));
        assert_int_equal(found.n_tokens, 0);
        assert_int_equal(conversation_turns(t.c), cases[i].turns);
        if (!i) { // what is computed again is what would have been there
            talk_open(&whole, demo, cases[i].line);
            say(&whole, fox, 30);
            say(&t, kite, 20);
            say(&whole, kite, 20);
            assert_int_equal(t.answer.n_reused, 0);
            assert_string_equal(t.text, whole.text);
            talk_close(&whole);
        }
        talk_close(&t);
    }
    const char *tiny = test_file("tiny.gguf");
    tiny_model_write(tiny, &(struct tiny_model){.seed = 6, .n_layers = 1, .context = 256});
    talk_open(&t, tiny, "");
    assert_int_equal(conversation_load(t.c, path, &found, &t.e), ERR_USAGE);
    assert_non_null(strstr(t.e.text, "plain text is continued"));
    talk_close(&t);
    talk_open(&t, demo, "");
    assert_int_equal(conversation_load(t.c, test_file("none"), &found, &t.e), 1);
    talk_close(&t);
}

// phi3 turns keys by other angles when the context is longer than the one it was first trained for.
static void a_context_that_turns_keys_otherwise_is_noticed(void **state)
{
    (void)state;
    static const char *const lines[] = {"--ctx|48", "--ctx|128"};
    struct talk t;
    struct conversation_found found;
    const char *path = test_file("kept.session"), *tiny = test_file("tiny.gguf");
    struct tiny_model phi = {
        .arch = "phi3", .seed = 4, .rope = TINY_ROPE_LONG, .original_context = 64, .context = 256};
    tiny_model_write(tiny, &phi);
    talk_open(&t, tiny, "--ctx|64");
    say(&t, "Once upon", 5);
    assert_ok(conversation_save(t.c, path, &t.e), &t.e);
    talk_close(&t);
    for (int i = 0; i < 2; i++) {
        talk_open(&t, tiny, lines[i]);
        assert_ok(conversation_load(t.c, path, &found, &t.e), &t.e);
        assert_int_equal(found.n_tokens > 0, i == 0);
        assert_int_equal(strstr(found.note, "turns its keys otherwise") != NULL, i == 1);
        talk_close(&t);
    }
}

static void another_model_gets_the_text_only(void **state)
{
    (void)state;
    struct talk t;
    struct conversation_found found;
    const char *path = test_file("kept.session"), *one = test_file("one.gguf");
    tiny_model_write(one, &(struct tiny_model){.seed = 6, .n_layers = 1, .context = 256});
    talk_open(&t, one, "");
    say(&t, "Once upon a time", 10);
    assert_ok(conversation_save(t.c, path, &t.e), &t.e);
    talk_close(&t);
    // The same shape and vocabulary, other weights.
    tiny_model_write(one, &(struct tiny_model){.seed = 7, .n_layers = 1, .context = 256});
    talk_open(&t, one, "");
    assert_ok(conversation_load(t.c, path, &found, &t.e), &t.e);
    assert_true(found.other_model);
    assert_non_null(strstr(found.note, "another model"));
    assert_int_equal(found.n_tokens, 0);
    say(&t, " more", 10);
    assert_int_equal(t.answer.n_reused, 0);
    assert_true(t.answer.n_prompt > 10); // with the text that was there
    talk_close(&t);
}

// ---- damage ------------------------------------------------------------------------------------

static void damaged_files_are_sentences(void **state)
{
    (void)state;
    struct talk t;
    struct conversation_found found;
    const char *path = test_file("kept.session"), *bad = test_file("bad.session");
    size_t size, n_refused = 0, n_text_only = 0;
    talk_open(&t, demo, "--kv|q8_0");
    say(&t, fox, 10);
    assert_ok(conversation_save(t.c, path, &t.e), &t.e);
    uint8_t *data = test_read(path, &size);
    uint64_t text_bytes;
    memcpy(&text_bytes, data + 16, sizeof text_bytes);
    for (size_t at = 0; at < size; at += at < 260 ? 7 : at < 1200 ? 50 : size / 20) {
        data[at] ^= 0x20;
        test_write(bad, data, size);
        data[at] ^= 0x20;
        t.e = (struct err){0};
        conversation_clear(t.c);
        int rc = conversation_load(t.c, bad, &found, &t.e);
        n_refused += rc < 0;
        n_text_only += !rc;
        if (at < 240 + text_bytes) {
            assert_true(rc < 0 && t.e.text[0]);
            assert_int_equal(conversation_turns(t.c), 0);
        } else { // tokens or cache: what was said is there
            assert_ok(rc, &t.e);
            assert_non_null(strstr(found.note, "is damaged"));
            assert_int_equal(found.n_tokens, 0);
            assert_int_equal(conversation_turns(t.c), 1);
        }
    }
    assert_true(n_refused > 20 && n_text_only > 10);
    say(&t, kite, 5); // and is of use
    for (size_t n = 0; n < size; n += n < 300 ? 37 : size / 10) {
        test_write(bad, data, n);
        t.e = (struct err){0};
        assert_true(conversation_load(t.c, bad, &found, &t.e) < 0);
        assert_non_null(strstr(t.e.text, "bad.session"));
    }
    free(data);
    talk_close(&t);
}

static void a_disk_that_fails_leaves_the_old_file(void **state)
{
    (void)state;
    static const enum disk_call calls[] = {DISK_OPEN, DISK_PWRITE, DISK_FSYNC, DISK_RENAME};
    struct talk t;
    const char *path = test_file("kept.session");
    size_t size, after;
    talk_open(&t, demo, "--kv|q8_0");
    say(&t, fox, 10);
    assert_ok(conversation_save(t.c, path, &t.e), &t.e);
    uint8_t *old = test_read(path, &size), *now;
    say(&t, kite, 10);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (long n = 0;; n++) {
            faulty_disk((struct disk_faults){.call = calls[i], .nth = n, .error = ENOSPC});
            t.e = (struct err){0};
            int rc = conversation_save(t.c, path, &t.e);
            if (!faulty_disk_end())
                break;
            if (!rc) { // the folder could not be synced: the file is there
                assert_true(calls[i] == DISK_OPEN || calls[i] == DISK_FSYNC);
                assert_true(n > 0);
                continue;
            }
            assert_non_null(strstr(t.e.text, "the disk is full"));
            now = test_read(path, &after);
            assert_int_equal(after, size);
            assert_memory_equal(now, old, size);
            free(now);
        }
        test_write(path, old, size);
    }
    free(old);
    talk_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_computes_only_what_is_new),
        cmocka_unit_test(what_was_said_is_what_the_model_sees),
        cmocka_unit_test(an_interrupted_answer_stays_and_an_unanswered_turn_does_not),
        cmocka_unit_test(plain_text_is_continued),
        cmocka_unit_test(a_full_context_is_declined_or_shifted),
        cmocka_unit_test(an_answer_goes_on_behind_a_shift),
        cmocka_unit_test(a_kept_conversation_goes_on_with_the_same_bits),
        cmocka_unit_test(what_does_not_fit_is_computed_again_and_said),
        cmocka_unit_test(a_context_that_turns_keys_otherwise_is_noticed),
        cmocka_unit_test(another_model_gets_the_text_only),
        cmocka_unit_test(damaged_files_are_sentences),
        cmocka_unit_test(a_disk_that_fails_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
