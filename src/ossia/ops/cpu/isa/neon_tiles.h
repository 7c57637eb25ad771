// Tiled products with NEON's dot product: signed bytes times signed bytes, four of them added to
// each of four rows.
//
// MXFP4 is looked up as twice its value, -12 to 12: signed, so that the pass's offset, which other
// instruction sets need, is not added here; the whole number is the same. No step can overflow: a
// block's 32 products reach 127 * 127 * 32 = 516,128, which a float holds exactly.
//
// One or two tokens keep their sums in registers; more keep them in the first-level cache, and
// sixteen vectors of weights stay in registers while the tokens go by.
#pragma once
#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

inline float largest_of_block(const float* x) {
  const uint32x4_t positive = vdupq_n_u32(0x7fffffff);  // then bits stand in order, NaN on top
  uint32x4_t top = vdupq_n_u32(0);
  for (int i = 0; i < 8; ++i) {
    top = vmaxq_u32(top, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + 4 * i)), positive));
  }
  return float_of(vmaxvq_u32(top));
}

inline std::int32_t round_to_int8(const float* x, float factor, std::int8_t* out) {
  std::int32_t sum = 0;
  for (int half = 0; half < 2; ++half, x += 16, out += 16) {
    int16x4_t words[4];
    for (int i = 0; i < 4; ++i) {
      words[i] = vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), factor)));
    }
    const int8x16_t bytes = vcombine_s8(vqmovn_s16(vcombine_s16(words[0], words[1])),
                                        vqmovn_s16(vcombine_s16(words[2], words[3])));
    vst1q_s8(out, bytes);
    sum += vaddlvq_s8(bytes);
  }
  return sum;
}

// Eight rows of one tile; weight[i] holds columns 4i to 4i + 3 of four rows and of four more.
struct Rows {
  int8x16_t weight[8][2];

  // Four chains: two would wait for themselves.
  int32x4x2_t dot(const std::int8_t* x) const {
    const int8x16_t left = vld1q_s8(x), right = vld1q_s8(x + 16);
    int32x4x2_t sum;
    for (int four = 0; four < 2; ++four) {
      int32x4_t first = vdupq_n_s32(0), last = first;
      first = vdotq_laneq_s32(first, weight[0][four], left, 0);
      first = vdotq_laneq_s32(first, weight[1][four], left, 1);
      first = vdotq_laneq_s32(first, weight[2][four], left, 2);
      first = vdotq_laneq_s32(first, weight[3][four], left, 3);
      last = vdotq_laneq_s32(last, weight[4][four], right, 0);
      last = vdotq_laneq_s32(last, weight[5][four], right, 1);
      last = vdotq_laneq_s32(last, weight[6][four], right, 2);
      last = vdotq_laneq_s32(last, weight[7][four], right, 3);
      sum.val[four] = vaddq_s32(first, last);
    }
    return sum;
  }
};

struct PackedRows : Rows {
  using Value = std::uint8_t;
  using Scale = std::uint8_t;
  static constexpr std::size_t kTile = kPackedTile;

  PackedRows(const Value* tile, std::size_t rows) {
    constexpr std::int8_t kTwice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const int8x16_t table = vld1q_s8(kTwice);
    for (std::size_t j = 0; j < 4; ++j) {
      for (std::size_t four = 0; four < 2; ++four) {
        const uint8x16_t both = vld1q_u8(tile + 64 * j + 4 * rows + 16 * four);
        weight[2 * j][four] = vqtbl1q_s8(table, vandq_u8(both, vdupq_n_u8(15)));
        weight[2 * j + 1][four] = vqtbl1q_s8(table, vshrq_n_u8(both, 4));
      }
    }
  }
  static float32x4x2_t scales(const Scale* scale) {
    const uint16x8_t words = vmovl_u8(vld1_u8(scale));
    return {vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vget_low_u16(words)), 23)),
            vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vget_high_u16(words)), 23))};
  }
};

struct Int8Rows : Rows {
  using Value = std::int8_t;
  using Scale = std::uint16_t;
  static constexpr std::size_t kTile = kInt8Tile;

  Int8Rows(const Value* tile, std::size_t rows) {
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t four = 0; four < 2; ++four) {
        weight[i][four] = vld1q_s8(tile + 64 * i + 4 * rows + 16 * four);
      }
    }
  }
  static float32x4x2_t scales(const Scale* scale) {
    const float16x8_t half = vreinterpretq_f16_u16(vld1q_u16(scale));
    return {vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)};
  }
};

// sum + (whole numbers) * (scale of the row) * (scale of the token)
inline Vec add_block(int32x4_t whole, Vec row_scale, float token_scale, Vec sum) {
  return fma(vcvtq_f32_s32(whole), mul(row_scale, set1(token_scale)), sum);
}

constexpr std::size_t kFetchAhead = 4096;  // bytes

template <class Tile, std::size_t kTokens>
inline void dot_few(const typename Tile::Value* values, const typename Tile::Scale* scales,
                    std::size_t blocks, const Pass& pass, GroupTotals& total) {
  Vec sum[kTokens][4];
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (Vec& four : sum[t]) four = set1(0);
  }
  for (std::size_t j = 0; j < blocks; ++j, values += Tile::kTile, scales += kGroup) {
    for (std::size_t byte = 0; byte < Tile::kTile; byte += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(values) + byte + kFetchAhead);
    }
    __builtin_prefetch(scales + 8 * kGroup);
    for (std::size_t half = 0; half < 2; ++half) {
      const Tile rows(values, 8 * half);
      const float32x4x2_t row_scale = Tile::scales(scales + 8 * half);
      for (std::size_t t = 0; t < kTokens; ++t) {
        const std::size_t block = j * kTokens + t;
        const int32x4x2_t whole = rows.dot(pass.value + block * kTileBlock);
        for (std::size_t four = 0; four < 2; ++four) {
          Vec& mine = sum[t][2 * half + four];
          mine = add_block(whole.val[four], row_scale.val[four], pass.scale[block], mine);
        }
      }
    }
  }
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t four = 0; four < 4; ++four) store(total[t] + 4 * four, sum[t][four]);
  }
}

template <class Tile>
inline void dot_many(const typename Tile::Value* values, const typename Tile::Scale* scales,
                     std::size_t blocks, const Pass& pass, GroupTotals& total) {
  const std::size_t tokens = pass.tokens;  // in locals: what is stored may not be what is read
  const std::int8_t* x = pass.value;
  const float* scale = pass.scale;
  for (std::size_t i = 0; i < tokens * kGroup; i += 4) store(total[0] + i, set1(0));
  for (std::size_t j = 0; j < blocks; ++j, values += Tile::kTile, scales += kGroup) {
    for (std::size_t half = 0; half < 2; ++half) {
      const Tile rows(values, 8 * half);
      const float32x4x2_t row_scale = Tile::scales(scales + 8 * half);
      float* sum = total[0] + 8 * half;
      for (std::size_t t = 0; t < tokens; ++t, sum += kGroup) {
        const int32x4x2_t whole = rows.dot(x + t * kTileBlock);
        store(sum, add_block(whole.val[0], row_scale.val[0], scale[t], load(sum)));
        store(sum + 4, add_block(whole.val[1], row_scale.val[1], scale[t], load(sum + 4)));
      }
    }
    x += tokens * kTileBlock;
    scale += tokens;
  }
}

template <class Tile>
inline void dot_tiles(const typename Tile::Value* values, const typename Tile::Scale* scales,
                      std::size_t blocks, const Pass& pass, GroupTotals& total) {
  if (pass.tokens == 1) return dot_few<Tile, 1>(values, scales, blocks, pass, total);
  if (pass.tokens == 2) return dot_few<Tile, 2>(values, scales, blocks, pass, total);
  dot_many<Tile>(values, scales, blocks, pass, total);
}

inline void dot_packed(const std::uint8_t* values, const std::uint8_t* scales, std::size_t blocks,
                       const Pass& pass, GroupTotals& total) {
  dot_tiles<PackedRows>(values, scales, blocks, pass, total);
}

inline void dot_int8(const std::int8_t* values, const std::uint16_t* scales, std::size_t blocks,
                     const Pass& pass, GroupTotals& total) {
  dot_tiles<Int8Rows>(values, scales, blocks, pass, total);
}

}  // namespace
}  // namespace ossia::OSSIA_ISA
