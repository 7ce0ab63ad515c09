// The files of profiles/ as bytes of the program. A new one is a line here, and one in the header's
// count; make runs in the folder that has profiles/.
#include "app/device_files.h"

// clang-format off
#define DEVICES(each) \
    each(d1, "d1") \
    each(d2, "d2") \
    each(d3, "d3") \
    each(d4, "d4") \
    each(d5, "d5") \
    each(d6, "d6") \
    each(pi5, "pi5-8gb") \
    each(pi4, "pi4-8gb") \
    each(phone, "phone-8gb") \
    each(n100, "n100-16gb") \
    each(office_2015, "office-2015-8gb") \
    each(laptop_2019, "laptop-2019-8gb") \
    each(laptop_2022, "laptop-2022-16gb") \
    each(desktop_ddr4, "desktop-ddr4-32gb") \
    each(desktop_ddr5, "desktop-ddr5-64gb") \
    each(desktop_rtx3060, "desktop-rtx3060-12gb") \
    each(server_2014, "server-2014-128gb")

#define EMBED(id, name) \
    __asm__(".pushsection .rodata\n" \
            "device_file_" #id ": .incbin \"profiles/" name ".json\"\n" \
            "device_file_end_" #id ": .byte 0\n" \
            ".popsection\n"); \
    extern const char device_file_##id[], device_file_end_##id[];
#define ENTRY(id, name) {name, device_file_##id, device_file_end_##id},
// clang-format on

DEVICES(EMBED)

const struct device_file device_files[DEVICE_FILES] = {DEVICES(ENTRY)};
