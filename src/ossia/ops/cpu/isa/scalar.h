// What every instruction set shares, compiled anew for each: nothing here, and no inline function
// of the standard library, may be shared, or the linker could keep a copy this CPU cannot run.
#pragma once
#include "kernels.h"

namespace ossia::OSSIA_ISA {

inline float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline float widen(float x) { return x; }
inline float widen(bf16 bits) { return float_of(static_cast<std::uint32_t>(bits) << 16); }

// To the nearest bfloat16, ties to even; not-a-number stays so.
inline void narrow(float x, bf16* out) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  *out = static_cast<bf16>((x == x ? rounded : bits | 0x400000) >> 16);
}
inline void narrow(float x, float* out) { *out = x; }

constexpr std::size_t least(std::size_t a, std::size_t b) { return a < b ? a : b; }
constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

struct Range {
  std::size_t first, last;
};

// This thread's share of 0..n-1, in whole units.
inline Range share(std::size_t n, std::size_t unit, const Team& team) {
  const std::size_t units = (n + unit - 1) / unit;
  return {least(n, units * team.index / team.count * unit),
          least(n, units * (team.index + 1) / team.count * unit)};
}

}  // namespace ossia::OSSIA_ISA
