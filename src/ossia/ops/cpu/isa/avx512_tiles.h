// Not written for this instruction set yet: the portable version.
#pragma once
#include "plain_tiles.h"
