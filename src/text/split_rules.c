// The regular expressions by which byte-level vocabularies cut text into words.
//
// They are what the published tokenizers of these models split by (their tokenizer.json), with
// three changes of form. White space is spelled out as Unicode's White_Space, because PCRE2's \s
// has U+180E in addition. Contractions list both cases, because caseless matching would let U+017F
// stand for an s. Repetitions that nothing can shorten are possessive, and no expression looks at
// the same text again and again, so each is linear.
//
// A published tokenizer that normalizes text is followed in that, except qwen2's: the conversions
// that its files come from do not, nor do the vectors of the tests.
//
// "default" has no publisher: it is the rule of the program that writes such files.
#include "text/split_rules.h"

#include <stdbool.h>
#include <string.h>

#define SPACE       "\\x09-\\x0d\\x{85}\\p{Z}" // inside brackets
#define SPACES_LAST "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++"
#define LINES       "[" SPACE "]*[\\r\\n]+"
#define CONTRACTION "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"

// Llama 3 and Qwen 2 differ in how many digits make a word.
#define WORDS(digits)                                                     \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|" digits "| ?+[^" SPACE \
                "\\p{L}\\p{N}]++[\\r\\n]*+|" LINES "|" SPACES_LAST

#define GPT2 "'(?:[stmd]|re|ve|ll)| ?\\p{L}++| ?\\p{N}++| ?[^" SPACE "\\p{L}\\p{N}]++|" SPACES_LAST

// Words of a title are apart from each other: small letters, then capitals begin a new word.
// Letters without case, and marks, are both.
#define HIGH "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOW  "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED(suffix)                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?[" HIGH "]*[" LOW "]++" suffix "|[^\\r\\n\\p{L}\\p{N}]?[" HIGH \
    "]++[" LOW "]*+" suffix "|"
#define CASED_REST "| ?[^" SPACE "\\p{L}\\p{N}]++[\\r\\n/]*+|" LINES "|" SPACES_LAST

#define DEEPSEEK_CJK "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]++"
#define SEPARATED \
    " ?[^(" SPACE "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]++"

// The letters with case that DeepSeek's first tokenizer knows, as its file lists them.
static const char deepseek_letters[] =
    "[" SPACE "]?["
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}"
    "\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}"
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}"
    "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}"
    "\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}"
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}"
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}"
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
    "]++";

// First every digit alone, then gpt-2 on what lies between them: a digit ends white space as the
// end of the text does.
#define DIGITS_THEN_GPT2                                                   \
    "'(?:[stmd]|re|ve|ll)| ?\\p{L}++|\\p{N}| ?[^" SPACE "\\p{L}\\p{N}]++|" \
    "[" SPACE "]+(?![^" SPACE "\\p{N}])|[" SPACE "]++"

// Names that stand together split alike.
static const struct split_rules all[] = {
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
     SPLIT_WHOLE_WORDS | SPLIT_ADDS_BOS,
     {WORDS("\\p{N}{1,3}+")}},
    {"dbrx smaug-bpe chatglm-bpe", 0, {WORDS("\\p{N}{1,3}+")}},
    {"glm4 glm5", SPLIT_WHOLE_WORDS, {WORDS("\\p{N}{1,3}+")}},
    {"minicpm5", SPLIT_WHOLE_WORDS, {"\\p{N}{1,3}+", WORDS("\\p{N}++")}},

    {"qwen2 deepseek-r1-qwen stablelm2 hunyuan megrez solar-open grok-2 kormo",
     0,
     {WORDS("\\p{N}")}},
    {"qwen35",
     SPLIT_NFC,
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]++|\\p{N}| ?[^" SPACE
                  "\\p{L}\\p{M}\\p{N}]++[\\r\\n]*+|" LINES "|" SPACES_LAST}},
    {"seed-coder",
     0,
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}| ?[^" SPACE "\\p{L}\\p{N}]++|" LINES
                  "|" SPACES_LAST}},
    {"bailingmoe bailingmoe2 llada-moe",
     0,
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}| ?[^" SPACE
                  "\\p{L}\\p{N}]++[\\r\\n]*+|[" SPACE "]*[\\r\\n]|" SPACES_LAST}},

    {"gpt-4o llama4 kanana2 minimax-m2",
     0,
     {CASED("(?:" CONTRACTION ")?+") "\\p{N}{1,3}+" CASED_REST}},
    {"tekken", SPLIT_WHOLE_WORDS | SPLIT_ADDS_BOS, {CASED("") "\\p{N}" CASED_REST}},

    {"deepseek-llm",
     0,
     {"[\\r\\n]", deepseek_letters,
      "[" SPACE "]?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}"
      "\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]++",
      "(?<![" SPACE "])[" SPACE "]++\\z", DEEPSEEK_CJK, "\\p{N}"}},
    {"deepseek-coder",
     0,
     {"[\\r\\n]", "[" SPACE "]?\\p{L}++", "[" SPACE "]?\\p{P}++", DEEPSEEK_CJK, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm",
     0,
     {"\\p{N}{1,3}+", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]++",
      "[!-/:-@\\[-`{-~][A-Za-z]++|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]++"
      "| ?[\\p{P}\\p{S}]++[\\r\\n]*+|" LINES "|" SPACES_LAST}},

    {"gpt-2 phi-2 jais trillion granite-docling exaone4 gigachat mellum a.x-4.0", 0, {GPT2}},
    {"mpt olmo", SPLIT_NFC, {GPT2}},
    {"starcoder refact smollm codeshell exaone minerva-7b", 0, {DIGITS_THEN_GPT2}},
    {"command-r", SPLIT_NFC, {DIGITS_THEN_GPT2}},

    {"falcon", 0, {"[\\p{P}$+<=>^~|`]++", GPT2, "[0-9]{3}"}},
    {"default", 0, {"[\\p{P}$+<=>^~|]++", GPT2, "\\p{N}++", "[0-9]{3}"}},
    {"bloom poro-chat gpt3-finnish", 0, {SEPARATED}},
    {"viking", 0, {SEPARATED, "\\p{N}"}},
    {"superbpe", SPLIT_THIRDS, {"\\p{N}++", "\\d++"}},
};

static bool has_name(const char *names, const char *name, size_t n)
{
    for (size_t length; *names; names += length + (names[length] == ' ')) {
        length = strcspn(names, " ");
        if (length == n && !memcmp(names, name, n))
            return true;
    }
    return false;
}

const struct split_rules *split_rules_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (has_name(all[i].names, name, n))
            return &all[i];
    return NULL;
}

const struct split_rules *split_rules_at(size_t i)
{
    return i < sizeof all / sizeof *all ? &all[i] : NULL;
}
