// Sizes of pages and of attention's scratch.
#include "pages.h"

#include "kernels.h"

namespace ossia {

namespace {

std::size_t up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

// Takes arrays from memory one after another, or only adds their sizes up when there is none.
struct Taker {
  std::byte* memory;
  std::size_t used = 0;

  template <class T>
  T* take(std::size_t n) {
    std::byte* first = memory ? memory + used : nullptr;
    used += up(n * sizeof(T), 64);
    return reinterpret_cast<T*>(first);
  }
  Softmax softmax(std::size_t rows, std::size_t width) {
    return {take<float>(rows), take<float>(rows), take<float>(rows * width)};
  }
};

std::size_t tokens(const Attend& job) {
  std::size_t last = 0;
  for (std::size_t q = 0; q < job.Q; ++q) {
    const auto end = static_cast<std::size_t>(job.first_Q[q] + std::int64_t{job.count_Q[q]});
    last = end > last ? end : last;
  }
  return last;
}

}  // namespace

PageLayout page_layout(PageFormat format, std::size_t B, std::size_t C) {
  const std::size_t size = format == PageFormat::f32 ? 4 : format == PageFormat::bf16 ? 2 : 1;
  const std::size_t width = up(C, 32), scales = format == PageFormat::int8 ? up(2 * B, 64) : 0;
  PageLayout layout{format, B, C, width, 0, 0, 0, 0};
  layout.value_at = up(up(C, 2) * B * size, 64);
  layout.key_scale_at = layout.value_at + up(up(B, 2) * width * size, 64);
  layout.value_scale_at = layout.key_scale_at + scales;
  layout.bytes = layout.value_scale_at + scales;
  return layout;
}

AttendPlan plan_attend(const Attend& job, std::size_t threads) {
  constexpr std::size_t kMostBytes = std::size_t{32} << 20, kUnitsForEach = 8;
  std::size_t units = 0, spans = 1;
  for (std::size_t q = 0; q < job.Q; ++q) {
    const auto count = static_cast<std::size_t>(job.count_Q[q]);
    const std::size_t last = static_cast<std::size_t>(job.past_Q[q]) + count;
    const std::size_t seen = last < job.window ? last / kSpan + 1 : job.window / kSpan + 2;
    units += job.K * ((count + kTogether - 1) / kTogether);
    spans = seen > spans ? seen : spans;
  }
  const std::size_t rows = tokens(job) * spans * job.K * job.G;
  const bool is_small = rows * (job.page.width + 2) * sizeof(float) <= kMostBytes;
  return {spans > 1 && is_small && units < kUnitsForEach * threads, spans};
}

AttendScratch attend_scratch(const Attend& job, std::size_t threads, std::size_t index) {
  const PageLayout& page = job.page;
  const std::size_t G = job.G, rows = kTogether * G, width = page.width;
  const std::size_t block = (kRowsAtOnce < G ? 1 : kRowsAtOnce / G) * G;
  const bool is_whole = page.format == PageFormat::int8;
  Taker taker{job.scratch};
  AttendScratch scratch{};
  scratch.turn = taker.take<std::uint32_t>(1);
  if (job.plan.is_split) {
    scratch.part = taker.softmax(tokens(job) * job.plan.spans * job.K * G, width);
  }
  for (std::size_t thread = 0; thread < threads; ++thread) {
    Desk desk{};
    desk.query = taker.take<float>(rows * up(page.C, 16));
    desk.whole_query = taker.take<std::int16_t>(is_whole ? rows * up(page.C, 16) : 0);
    desk.query_unit = taker.take<float>(rows);
    desk.span = taker.softmax(rows, width);
    desk.sum = taker.softmax(rows, width);
    desk.score = taker.take<float>(block * kTile);
    desk.whole_weight = taker.take<std::int16_t>(is_whole ? block * kTile : 0);
    desk.weight_unit = taker.take<float>(block);
    desk.shrink = taker.take<float>(block);
    desk.top = taker.take<float>(up(block, 16));  // a vector may end behind the last
    desk.mass = taker.take<float>(up(block, 16));
    desk.tile = taker.take<std::byte>(page_layout(page.format, kTile, page.C).bytes);
    if (thread == index) scratch.desk = desk;
  }
  scratch.bytes = taker.used;
  return scratch;
}

}  // namespace ossia
