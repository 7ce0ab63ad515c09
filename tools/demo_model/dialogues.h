// Small dialogues: two neighbours meet and talk.
#pragma once

#include "teller.h"

const char *dialogues_any(struct teller *t); // a template over the slots of story.h
