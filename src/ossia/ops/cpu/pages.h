// Where a page keeps the keys and values of one head, and what attention needs beside it.
// Knows nothing of instruction sets.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ossia {

using bf16 = std::uint16_t;  // the upper half of a float

enum class PageFormat : std::uint8_t { f32, bf16, int8 };

// One key/value head of one page: B tokens of C channels, four parts, each aligned to 64 bytes.
//   keys    [C][B]      of f32; otherwise [C/2][B][2]: two channels of a token side by side
//   values  [B][width]  of f32; otherwise [B/2][width][2]: one channel of two tokens
//   scales  [B] of the keys, [B] of the values, in bfloat16: a number is int8 times scale; int8
//   only
// Odd C and B are rounded up to pairs; channels of values are filled up with zeros to `width`.
struct PageLayout {
  PageFormat format;
  std::size_t B, C, width;
  std::size_t value_at, key_scale_at, value_scale_at, bytes;
};
PageLayout page_layout(PageFormat format, std::size_t B, std::size_t C);

// Attention works on tiles of 64 keys, adds tiles up to spans of 1,024, and spans to the whole,
// all by absolute position: the same sums whatever the pages, steps and threads.
constexpr std::size_t kTile = 64, kSpan = 1024;
constexpr std::size_t kTogether = 16;    // tokens that share a tile
constexpr std::size_t kRowsAtOnce = 24;  // query rows that are scored before their values are added

// Sums of a row (one query head of one token): the largest score, the sum of weights relative to
// it, and the weighted values.
struct Softmax {
  float *top, *mass, *mixed;  // [rows], [rows], [rows][width]
};

struct Attend;

// One thread's scratch.
struct Desk {
  float* query;               // [rows][C], divided by sqrt(C)
  std::int16_t* whole_query;  // the same, rounded; int8 only
  float* query_unit;          // [rows], of whole_query
  Softmax span, sum;
  float* score;                              // [block][kTile], then weights
  std::int16_t* whole_weight;                // [block][kTile]; int8 only
  float *weight_unit, *shrink, *top, *mass;  // [block]
  std::byte* tile;                           // where a tile that pages cut is put together
};

// How one call is shared between threads. Which, changes no bit of the result.
struct AttendPlan {
  bool is_split;      // spans of one token may go to several threads
  std::size_t spans;  // at most, of a token
};
AttendPlan plan_attend(const Attend& job, std::size_t threads);

// The scratch of a call that is planned, for the thread at `index`. Without memory: only its size.
struct AttendScratch {
  std::uint32_t* turn;  // counts work that is taken
  Softmax part;         // [tokens][spans][K][G], when split
  Desk desk;
  std::size_t bytes;
};
AttendScratch attend_scratch(const Attend& job, std::size_t threads, std::size_t index);

}  // namespace ossia
