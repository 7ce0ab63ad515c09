// The list of architectures.
#include "model/arch.h"

#include <string.h>

static const struct arch *const archs[] = {&arch_llama, &arch_qwen2};

const struct arch *arch_find(const char *name)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (!strcmp(archs[i]->name, name))
            return archs[i];
    return NULL;
}

const char *arch_names(void)
{
    return "llama, qwen2";
}
