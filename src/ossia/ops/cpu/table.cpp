// The table of one instruction set.
#include "declare.h"

#define OSSIA_TEXT_OF(name) #name
#define OSSIA_TEXT(name) OSSIA_TEXT_OF(name)

namespace ossia::OSSIA_ISA {

const Kernels kernels = {
    OSSIA_TEXT(OSSIA_ISA), repack, embed, project_qkv, attend,
    project_out,           route,  moe,   unembed,     unembed_ids,
};

}  // namespace ossia::OSSIA_ISA
