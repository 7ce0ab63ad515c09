// Typical devices: the files of profiles/, which are part of the program.
#pragma once

#include <stddef.h>

struct device_file {
    const char *name; // of the file, without .json
    const char *text, *end;
};

enum { DEVICE_FILES = 17 };
extern const struct device_file device_files[DEVICE_FILES];
