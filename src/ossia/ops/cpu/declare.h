// The kernels of one instruction set, by name; table.cpp lists them.
#pragma once
#include "kernels.h"

namespace ossia::OSSIA_ISA {

void repack(const Repack& job, const Team& team);
void embed(const Embed& job, const Team& team);
void project_qkv(const ProjectQkv& job, const Team& team);
void attend(const Attend& job, const Team& team);
void project_out(const ProjectOut& job, const Team& team);
void route(const Route& job, const Team& team);
void moe(const Moe& job, const Team& team);
void unembed(const Unembed& job, const Team& team);
void unembed_ids(const UnembedIds& job, const Team& team);

extern const Kernels kernels;

}  // namespace ossia::OSSIA_ISA
