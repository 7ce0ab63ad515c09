// The list of architectures.
#include "base/check.h"
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

static const struct arch *const archs[] = {
    &arch_llama,      &arch_mistral3, &arch_qwen2,     &arch_qwen2moe, &arch_qwen3,
    &arch_qwen3moe,   &arch_gemma2,   &arch_gemma3,    &arch_phi3,     &arch_granite,
    &arch_granitemoe, &arch_gpt_oss,  &arch_deepseek2,
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

const struct arch *arch_find(const char *name)
{
    for (int i = 0; i < N_ARCHS; i++)
        if (!strcmp(archs[i]->name, name))
            return archs[i];
    return NULL;
}

void arch_names(char *out, size_t size)
{
    size_t n = 0;
    for (int i = 0; i < N_ARCHS; i++) {
        int more = snprintf(out + n, size - n, "%s%s", i ? ", " : "", archs[i]->name);
        CHECK(more > 0 && (size_t)more < size - n);
        n += (size_t)more;
    }
}
