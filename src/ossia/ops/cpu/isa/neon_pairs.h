// Keys and values by pairs, NEON.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kMostRows = 8;

// The first or the second of W pairs.
inline Vec load_even(const bf16* pair) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(pair)), 16));
}
inline Vec load_odd(const bf16* pair) {
  const uint32x4_t both = vreinterpretq_u32_u16(vld1q_u16(pair));
  return vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(~0xffffu)));
}

// W int32; or as many pairs of int16, which are the same bits.
using Whole = int32x4_t;
inline Whole whole_zero() { return vdupq_n_s32(0); }
inline Whole load_pairs(const std::int8_t* pair) {
  return vreinterpretq_s32_s16(vmovl_s8(vld1_s8(pair)));
}
inline Whole set_pair(const std::int16_t* pair) {
  std::int32_t both;
  __builtin_memcpy(&both, pair, sizeof both);
  return vdupq_n_s32(both);
}
// sum + a[0] * b[0] + a[1] * b[1] of each pair.
inline Whole add_products(Whole a, Whole b, Whole sum) {
  const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
  const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
  return vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(x, y)));
}
inline Vec floats(Whole x) { return vcvtq_f32_s32(x); }
// To the nearest whole numbers, which fit.
inline void store_rounded(std::int16_t* out, Vec x) { vst1_s16(out, vmovn_s32(vcvtnq_s32_f32(x))); }

}  // namespace ossia::OSSIA_ISA
