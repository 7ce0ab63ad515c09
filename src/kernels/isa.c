// Which instruction sets this machine has: asked of the processor and of the operating system,
// which must save the wide registers.
#include "kernels/kernels.h"

#include "base/check.h"

#include <pthread.h>

static const char *const names[ISA_COUNT] = {
    [ISA_SCALAR] = "scalar", [ISA_AVX2] = "avx2", [ISA_AVX512] = "avx512",
    [ISA_NEON] = "neon",     [ISA_I8MM] = "i8mm",
};

// Asked once: cpuid leaves a virtual machine, which takes tens of microseconds.
static bool has[ISA_COUNT];
static pthread_once_t asked = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
#include <cpuid.h>

// XCR0 says which register state the system saves: bit 1 XMM, bit 2 YMM, bits 5 to 7 the masks, the
// upper halves of ZMM and the upper sixteen ZMM.
static uint32_t system_saves(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void ask_family(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return;
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    const uint32_t needed = fma | osxsave | avx | f16c;
    if ((c & needed) != needed)
        return;
    const uint32_t ymm = 0x06, zmm = 0xe6, saved = system_saves();
    if ((saved & ymm) != ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5)))
        return;
    has[ISA_AVX2] = true;
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, vnni = 1u << 11;
    has[ISA_AVX512] = (saved & zmm) == zmm && (b & f_dq_bw_vl) == f_dq_bw_vl && (c & vnni);
}
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static void ask_family(void)
{
    has[ISA_NEON] = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
    has[ISA_I8MM] = has[ISA_NEON] && (getauxval(AT_HWCAP2) & HWCAP2_I8MM);
}
#else
static void ask_family(void)
{
}
#endif

static void ask(void)
{
    has[ISA_SCALAR] = true;
    ask_family();
}

bool isa_has(enum isa isa)
{
    CHECK(isa < ISA_COUNT);
    pthread_once(&asked, ask);
    return has[isa];
}

enum isa isa_detect(void)
{
    for (int isa = ISA_COUNT - 1; isa > ISA_SCALAR; isa--)
        if (isa_has((enum isa)isa))
            return (enum isa)isa;
    return ISA_SCALAR;
}

const char *isa_name(enum isa isa)
{
    CHECK(isa < ISA_COUNT);
    return names[isa];
}
