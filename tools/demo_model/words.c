// The words: see words.h. Templates occur in them too.
#include "words.h"

static const struct animal animals[] = {
    {"fox", "in a den", "yips", "cub", DIG},
    {"bear", "in a cave", "growls", "cub", TALL | SWIM},
    {"rabbit", "in a burrow", "squeaks", "kitten", DIG | SMALL},
    {"owl", "in a hollow tree", "hoots", "owlet", FLY},
    {"mouse", "in a tiny hole", "squeaks", "pup", SMALL | CLIMB},
    {"hedgehog", "in a heap of leaves", "snuffles", "hoglet", SMALL},
    {"squirrel", "in a tall oak tree", "chatters", "kitten", CLIMB | SMALL},
    {"turtle", "in a mossy pond", "hisses", "hatchling", SWIM},
    {"frog", "in a pond", "croaks", "tadpole", SWIM | SMALL},
    {"duck", "in a nest of reeds", "quacks", "duckling", FLY | SWIM},
    {"cat", "in a cosy house", "meows", "kitten", CLIMB},
    {"dog", "in a kennel", "barks", "puppy", SWIM | DIG},
    {"goat", "on a stony hill", "bleats", "kid", CLIMB},
    {"sheep", "in a green field", "bleats", "lamb", 0},
    {"horse", "in a stable", "neighs", "foal", TALL},
    {"cow", "in a barn", "moos", "calf", 0},
    {"pig", "in a sty", "oinks", "piglet", DIG},
    {"hen", "in a coop", "clucks", "chick", 0},
    {"goose", "in a nest by the water", "honks", "gosling", FLY | SWIM},
    {"beaver", "in a lodge of sticks", "slaps its tail", "kit", SWIM},
    {"badger", "in a sett", "grunts", "cub", DIG},
    {"otter", "on a river bank", "whistles", "pup", SWIM},
    {"deer", "in a quiet glade", "grunts", "fawn", TALL},
    {"mole", "in a tunnel", "squeaks", "pup", DIG | SMALL},
    {"crow", "in a big nest", "caws", "chick", FLY},
    {"robin", "in a small nest", "sings", "chick", FLY | SMALL},
    {"elephant", "on a wide plain", "trumpets", "calf", TALL | SWIM},
    {"giraffe", "on a sunny plain", "hums", "calf", TALL},
    {"monkey", "in a leafy tree", "chatters", "infant", CLIMB},
    {"penguin", "on an icy shore", "honks", "chick", SWIM},
    {"lion", "in a rocky den", "roars", "cub", 0},
    {"panda", "in a bamboo grove", "bleats", "cub", CLIMB},
    {"wolf", "in a den", "howls", "pup", DIG},
    {"tiger", "in the jungle", "roars", "cub", SWIM},
    {"dragon", "in a cave", "roars", "hatchling", FLY},
    {"parrot", "in a tall tree", "squawks", "chick", FLY},
    {"swan", "on a calm lake", "honks", "cygnet", FLY | SWIM},
    {"donkey", "in a stable", "brays", "foal", 0},
    {"camel", "in the desert", "grunts", "calf", TALL},
    {"zebra", "on a wide plain", "barks", "foal", 0},
    {"kangaroo", "on a dry plain", "clicks", "joey", TALL},
    {"snail", "in its shell", "makes no sound at all", "hatchling", SMALL},
};

#define HUES "{red|blue|green|yellow|orange|purple|pink|white}"

static const struct thing things[] = {
    {"kite", HUES, "fly it high in the sky", "a long piece of string", LIGHT | BREAKS},
    {"ball", HUES, "bounce it up and down", "", LIGHT | FLOATS},
    {"balloon", HUES, "watch it dance in the air", "", LIGHT},
    {"hat", HUES, "wear it on sunny days", "a needle and thread", LIGHT | FLOATS | BREAKS},
    {"scarf", HUES, "wear it on cold days", "a needle and thread", LIGHT | BREAKS},
    {"drum", HUES, "play it in the evening", "a strip of leather", BREAKS | LOUD},
    {"flute", "{silver|wooden|old}", "play soft songs on it", "a drop of glue", BREAKS | LOUD},
    {"bell", "{golden|silver|little}", "ring it every morning", "a new piece of rope",
     BREAKS | LOUD},
    {"lantern", "{little|bright|old|" HUES "}", "light it after dark", "a new piece of glass",
     BREAKS},
    {"book", "{old|big|little|" HUES "}", "read it under a tree", "a strip of paper", BREAKS},
    {"basket", "{little|big|brown|yellow}", "fill it with berries", "some long grass",
     FLOATS | BREAKS},
    {"boat", HUES, "sail it on the water", "a new piece of wood", FLOATS | BREAKS},
    {"wagon", HUES, "pull it along the path", "a new wheel", BREAKS},
    {"sled", HUES, "ride it down the hill", "two strong nails", BREAKS},
    {"umbrella", HUES, "twirl it round and round", "a strip of cloth", LIGHT | FLOATS | BREAKS},
    {"bucket", HUES, "carry water in it", "a new handle", FLOATS | BREAKS},
    {"blanket", "{soft|warm|" HUES "}", "curl up under it", "a needle and thread", LIGHT | BREAKS},
    {"teapot", "{old|little|" HUES "}", "make tea in it", "a drop of glue", BREAKS},
    {"cup", "{little|" HUES "}", "drink warm milk from it", "a drop of glue", BREAKS},
    {"key", "{golden|silver|old|little}", "wear it on a string", "", 0},
    {"map", "{old|big|yellow}", "look at it for hours", "a strip of paper", LIGHT | BREAKS},
    {"feather", "{white|blue|long|golden}", "tickle the flowers with it", "", LIGHT | FLOATS},
    {"shell", "{pink|white|big|shiny}", "hold it up to hear the sea", "", 0},
    {"button", "{shiny|" HUES "}", "spin it on a stone", "", 0},
    {"coin", "{golden|silver|shiny|old}", "polish it until it shone", "", 0},
    {"ribbon", HUES, "wave it in the wind", "a needle and thread", LIGHT | BREAKS},
    {"mitten", HUES, "wear it in the snow", "a needle and thread", LIGHT | BREAKS},
    {"doll", "{little|old|pretty}", "sing to it at bedtime", "a needle and thread", BREAKS},
    {"puppet", "{funny|little|wooden}", "make it dance", "a piece of string", BREAKS},
    {"whistle", "{tin|silver|little}", "blow it loudly", "", LOUD},
    {"trumpet", "{shiny|golden|old}", "play merry songs on it", "a drop of glue", BREAKS | LOUD},
    {"clock", "{old|little|golden}", "listen to it tick", "a tiny screw", BREAKS},
    {"paintbrush", "{little|long|old}", "paint bright pictures with it", "some thin string",
     BREAKS},
    {"spoon", "{wooden|silver|big}", "stir soup with it", "", 0},
    {"mirror", "{little|old|shiny}", "look at the clouds in it", "a new piece of glass", BREAKS},
    {"cake", "{big|sweet|honey}", "smell it", "", FOOD},
    {"pie", "{big|warm|berry}", "smell it", "", FOOD},
    {"apple", "{red|big|shiny|green}", "look at it", "", FOOD},
    {"pumpkin", "{big|orange|round}", "roll it about", "", FOOD},
    {"cookie", "{big|sweet|round}", "smell it", "", FOOD},
    {"cheese", "{big|yellow|round}", "smell it", "", FOOD},
    {"carrot", "{big|orange|sweet}", "look at it", "", FOOD},
    {"flower", HUES, "smell it", "", LIGHT},
    {"letter", "{long|short|old}", "read it again and again", "a strip of paper", LIGHT | BREAKS},
    {"ring", "{golden|silver|little}", "watch it shine in the sun", "", 0},
    {"crown", "{golden|silver|paper}", "play king with it", "a drop of glue", BREAKS},
    {"train", "{wooden|little|" HUES "}", "push it round the room", "a new wheel", BREAKS},
    {"car", "{little|wooden|" HUES "}", "roll it down the path", "a new wheel", BREAKS},
    {"rocket", "{little|paper|" HUES "}", "throw it up to the clouds", "a strip of paper",
     LIGHT | BREAKS},
    {"guitar", "{old|wooden|little}", "play happy songs on it", "a new string", BREAKS | LOUD},
    {"violin", "{old|brown|little}", "play slow songs on it", "a new string", BREAKS | LOUD},
    {"bicycle", HUES, "ride it to the bridge", "a new wheel", BREAKS},
    {"tent", HUES, "sleep in it", "a strong rope", LIGHT | BREAKS},
    {"telescope", "{long|old|shiny}", "look at the moon through it", "a new piece of glass",
     BREAKS},
    {"pencil", "{long|short|" HUES "}", "draw funny faces with it", "", FLOATS},
    {"lamp", "{little|old|bright}", "read by its light", "a new piece of glass", BREAKS},
    {"toy", "{little|soft|wooden}", "play with it all day", "a needle and thread", BREAKS},
    {"star", "{paper|golden|silver}", "hang it over the bed", "a drop of glue", LIGHT | BREAKS},
    {"necklace", "{silver|golden|pretty}", "wear it to parties", "a piece of string", BREAKS},
};

static const struct place places[] = {
    {"forest",
     "in a {quiet|deep|green} forest",
     "in the forest",
     {"under the ferns", "behind the old oak tree", "beside the stream"}},
    {"meadow",
     "near a {wide|sunny|green} meadow",
     "in the meadow",
     {"in the long grass", "among the daisies", "under the hedge"}},
    {"farm",
     "on a {small|busy|little} farm",
     "on the farm",
     {"in the barn", "behind the haystack", "by the gate"}},
    {"village",
     "in a {small|quiet|little} village",
     "in the village",
     {"by the well", "under the market stall", "behind the bakery"}},
    {"garden",
     "in a {pretty|big|sunny} garden",
     "in the garden",
     {"under the roses", "behind the shed", "among the cabbages"}},
    {"beach",
     "by a {long|sunny|sandy} beach",
     "on the beach",
     {"in the soft sand", "behind the rocks", "under the old boat"}},
    {"hill",
     "on top of a {high|green|grassy} hill",
     "on the hill",
     {"behind a big stone", "in the tall grass", "under the thorn bush"}},
    {"lake",
     "beside a {clear|blue|calm} lake",
     "by the lake",
     {"among the reeds", "under the little bridge", "behind the willow tree"}},
    {"river",
     "beside a {wide|slow|winding} river",
     "by the river",
     {"among the reeds", "under the stone bridge", "behind the willow tree"}},
    {"mountain",
     "at the foot of a {tall|snowy|great} mountain",
     "on the mountain",
     {"in a small cave", "behind a tall rock", "under the pine trees"}},
    {"orchard",
     "in an {old|apple} orchard",
     "in the orchard",
     {"under the apple trees", "behind the ladder", "in the deep grass"}},
    {"town",
     "in a {busy|little|cheerful} town",
     "in the town",
     {"under the park bench", "behind the library", "near the fountain"}},
    {"island",
     "on a {small|green|sunny} island",
     "on the island",
     {"under the palm trees", "among the shells", "behind a big rock"}},
    {"valley",
     "in a {green|quiet|misty} valley",
     "in the valley",
     {"beside the stream", "behind the old mill", "under the beech tree"}},
    {"castle",
     "in an old {stone|grey} castle",
     "in the castle",
     {"under the stairs", "behind the curtain", "in the tower"}},
    {"harbour",
     "near a {small|busy|windy} harbour",
     "in the harbour",
     {"behind the barrels", "under the nets", "beside the lighthouse"}},
    {"park",
     "near a {big|leafy|pretty} park",
     "in the park",
     {"under the bench", "behind the swings", "among the tulips"}},
    {"desert",
     "at the edge of a {wide|warm|dry} desert",
     "in the desert",
     {"behind the sand hill", "under the palm trees", "beside the well"}},
    {"school",
     "near a {small|new|cheerful} school",
     "at the school",
     {"under the table", "behind the bookcase", "by the door"}},
    {"city",
     "in a {big|busy|bright} city",
     "in the city",
     {"under the bridge", "behind the bus stop", "near the fountain"}},
    {"cave",
     "near a {dark|deep|cool} cave",
     "in the cave",
     {"behind a big stone", "in a dark corner", "beside the little pool"}},
    {"sea",
     "by the {blue|wide|deep} sea",
     "by the sea",
     {"in the wet sand", "behind the rocks", "under the old boat"}},
    {"zoo",
     "near a {big|small|famous} zoo",
     "at the zoo",
     {"behind the ticket box", "under the bench", "beside the pond"}},
    {"jungle",
     "in a {warm|green|deep} jungle",
     "in the jungle",
     {"under the big leaves", "behind the vines", "beside the waterfall"}},
};

static const char *girls[] = {"Mia",    "Lily",  "Anna",  "Ella", "Rosa", "Nora", "Ivy",
                              "Clara",  "Emma",  "Zoe",   "Ada",  "Ruby", "Lena", "Maya",
                              "Sophie", "Tilda", "Greta", "Nina", "Eva",  "Amy"};
static const char *boys[] = {"Tom",  "Ben",   "Max",  "Leo",    "Sam",  "Finn", "Jack",
                             "Noah", "Oscar", "Hugo", "Theo",   "Luca", "Emil", "Peter",
                             "Adam", "Felix", "Otto", "Daniel", "Milo", "Will"};
static const char *she_pets[] = {"Hazel", "Clover", "Poppy", "Daisy", "Bella", "Luna",   "Willow",
                                 "Olive", "Honey",  "Dotty", "Molly", "Fern",  "Ginger", "Pearl"};
static const char *he_pets[] = {"Rusty",  "Pip",     "Bramble", "Nibbles", "Toby",
                                "Barney", "Oliver",  "Biscuit", "Rocky",   "Charlie",
                                "Monty",  "Chester", "Bertie",  "Jasper"};
static const char *traits[] = {"kind",     "brave",   "clever",  "shy",   "curious",    "cheerful",
                               "gentle",   "patient", "busy",    "quiet", "lively",     "careful",
                               "friendly", "sleepy",  "playful", "proud", "thoughtful", "hungry"};
static const char *hobbies[] = {"sing songs",        "tell jokes",         "pick flowers",
                                "watch the clouds",  "climb over stones",  "collect smooth stones",
                                "listen to stories", "play hide and seek", "draw pictures",
                                "count the stars",   "run races",          "dance in the rain",
                                "cook soup",         "help the neighbours"};

static const struct weather weathers[] = {
    {"sunny", "The sun was {warm and bright|shining}, and the birds were singing."},
    {"windy", "The wind {blew|rushed} through the trees and shook the leaves."},
    {"rainy", "{Rain tapped on every roof|Soft rain fell all around}, and there were puddles "
              "everywhere."},
    {"snowy", "{White|Soft} snow lay on the ground, and everything was quiet."},
    {"foggy", "A {thick|grey} fog hid the path, and nobody could see very far."},
    {"cloudy", "{Grey|Big white} clouds moved slowly across the sky."},
    {"warm", "The air smelled of {flowers|grass|honey}, and bees hummed all around."},
    {"cold", "There was frost on the windows, and the air was {cold and clear|sharp}."},
    {"bright", "The sky was blue, and there was not a cloud to be seen."},
    {"golden", "The leaves were turning red and gold, and a few of them danced in the air."},
};

const struct animal *words_animal(struct teller *t)
{
    return &animals[teller_below(t, COUNT(animals))];
}

const struct thing *words_thing(struct teller *t)
{
    return &things[teller_below(t, COUNT(things))];
}

const struct place *words_place(struct teller *t)
{
    return &places[teller_below(t, COUNT(places))];
}

const struct weather *words_weather(struct teller *t)
{
    return &weathers[teller_below(t, COUNT(weathers))];
}

const char *words_girl(struct teller *t)
{
    return girls[teller_below(t, COUNT(girls))];
}

const char *words_boy(struct teller *t)
{
    return boys[teller_below(t, COUNT(boys))];
}

const char *words_pet(struct teller *t, int is_she)
{
    return is_she ? she_pets[teller_below(t, COUNT(she_pets))]
                  : he_pets[teller_below(t, COUNT(he_pets))];
}

const char *words_trait(struct teller *t)
{
    return traits[teller_below(t, COUNT(traits))];
}

const char *words_hobby(struct teller *t)
{
    return hobbies[teller_below(t, COUNT(hobbies))];
}
