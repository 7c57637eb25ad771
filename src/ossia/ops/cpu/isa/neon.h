// Four floats: arm64, which always has NEON.
#pragma once
#include <arm_neon.h>

#include "mxfp4_bits.h"

namespace ossia::OSSIA_ISA {

constexpr std::size_t W = 4;
using Vec = float32x4_t;

inline Vec set1(float x) { return vdupq_n_f32(x); }
inline Vec load(const float* x) { return vld1q_f32(x); }
inline Vec load(const bf16* x) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x), 16)); }
inline void store(float* out, Vec x) { vst1q_f32(out, x); }
inline Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
inline Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
inline Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
inline Vec div(Vec a, Vec b) { return vdivq_f32(a, b); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
// Of a bound and a value; a value that is no number stays so.
inline Vec min(Vec bound, Vec x) { return vminq_f32(bound, x); }
inline Vec max(Vec bound, Vec x) { return vmaxq_f32(bound, x); }
// 2^n for whole n from -126 to 127.
inline Vec pow2(Vec n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
inline float sum(Vec x) { return vaddvq_f32(x); }
inline float largest(Vec x) { return vmaxvq_f32(x); }

// Both bytes of each bfloat16 are looked up, then a long shift widens.
inline void widen_block(const std::uint8_t* block, std::uint8_t scale, Vec* out) {
  const uint8x16_t bytes = vld1q_u8(block);
  const uint8x16_t low = vld1q_u8(mxfp4_bits.bytes[scale][0]),
                   high = vld1q_u8(mxfp4_bits.bytes[scale][1]);
  const uint8x16_t even = vandq_u8(bytes, vdupq_n_u8(15)), odd = vshrq_n_u8(bytes, 4);
  const uint8x16_t code[2] = {vzip1q_u8(even, odd), vzip2q_u8(even, odd)};
  for (int i = 0; i < 2; ++i) {
    const uint8x16_t lower = vqtbl1q_u8(low, code[i]), upper = vqtbl1q_u8(high, code[i]);
    const uint16x8_t eight[2] = {vreinterpretq_u16_u8(vzip1q_u8(lower, upper)),
                                 vreinterpretq_u16_u8(vzip2q_u8(lower, upper))};
    for (int j = 0; j < 2; ++j) {
      *out++ = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(eight[j]), 16));
      *out++ = vreinterpretq_f32_u32(vshll_high_n_u16(eight[j], 16));
    }
  }
}
constexpr bool kArranges = false;
inline void arrange16(const float*, float*) {}

}  // namespace ossia::OSSIA_ISA
