// Keys and values where pages hold them: writing them there, and reading them by tiles.
#pragma once
#include OSSIA_PAIRS

namespace ossia::OSSIA_ISA {

// Numbers of a pair stand side by side; float32 has no pairs.
template <class Number>
constexpr std::size_t kPair = sizeof(Number) < sizeof(float) ? 2 : 1;

template <class Number>
constexpr bool kIsWhole = sizeof(Number) == 1;

// The place of [i, j] when pairs are made of rows, `columns` long.
template <class Number>
constexpr std::size_t place(std::size_t i, std::size_t j, std::size_t columns) {
  constexpr std::size_t P = kPair<Number>;
  return (i / P * columns + j) * P + i % P;
}

constexpr float kNothing = 1e-30f;  // sizes below are taken for 0

// W of the n numbers at x from place i on; zeros behind the last.
inline Vec load_from(const float* x, std::size_t i, std::size_t n) {
  if (i + W <= n) return load(x + i);
  float lanes[W] = {};
  for (std::size_t j = i; j < n; ++j) lanes[j - i] = x[j];
  return load(lanes);
}

// Not a number when any of them is none, or infinite.
inline float largest_size(const float* x, std::size_t n) {
  Vec top = set1(0.0f), nothing = set1(0.0f);
  for (std::size_t i = 0; i < n; i += W) {
    const Vec some = load_from(x, i, n);
    top = max(max(top, some), sub(set1(0.0f), some));
    nothing = fma(some, set1(0.0f), nothing);
  }
  return largest(top) + sum(nothing);
}

// Calls put(i, x[i] * step rounded to a whole number, which fits 16 bits).
template <class Put>
inline void round_all(const float* x, std::size_t n, float step, const Put& put) {
  for (std::size_t i = 0; i < n; i += W) {
    std::int16_t whole[W];
    store_rounded(whole, mul(load_from(x, i, n), set1(step)));
    for (std::size_t j = i; j < least(i + W, n); ++j) put(j, whole[j - i]);
  }
}

// Keys [C][slots] and values [slots][width], of which kTile slots are meant.
template <class Number>
struct Tile {
  Number *key, *value;
  std::size_t slots;              // from one row (or pair of rows) of keys to the next
  bf16 *key_scale, *value_scale;  // int8 only
};

// One key/value head of one sequence.
template <class Number>
struct Past {
  const Attend& job;
  const std::int32_t* page_P;
  std::size_t k;

  // The page of a position, seen from its slot of that number on.
  Tile<Number> at(std::size_t position, std::size_t slot) const {
    const PageLayout& page = job.page;
    const auto index = static_cast<std::size_t>(page_P[position / page.B % job.P]);
    std::byte* first = job.page_PKY + (index * job.K + k) * page.bytes;
    return view(first, page, slot);
  }

  static Tile<Number> view(std::byte* first, const PageLayout& page, std::size_t slot) {
    return {reinterpret_cast<Number*>(first) + place<Number>(0, slot, page.B),
            reinterpret_cast<Number*>(first + page.value_at) + place<Number>(slot, 0, page.width),
            page.B, reinterpret_cast<bf16*>(first + page.key_scale_at) + slot,
            reinterpret_cast<bf16*>(first + page.value_scale_at) + slot};
  }

  // Rounds one key and one value, and keeps them.
  void write(std::size_t position, const float* key_C, const float* value_C) const {
    const std::size_t slot = position % job.page.B, C = job.page.C, width = job.page.width;
    const Tile<Number> page = at(position, 0);
    if constexpr (kIsWhole<Number>) {
      const auto keep = [&](const float* x_C, bf16* scale, const auto& to) {
        narrow(largest_size(x_C, C) / 127, scale);  // rounded first: it costs no accuracy
        const float unit = widen(*scale);
        const auto put = [&](std::size_t c, std::int16_t x) {
          to(c) = static_cast<Number>(x > 127 ? 127 : x < -127 ? -127 : x);
        };
        round_all(x_C, C, unit > kNothing ? 1 / unit : 0, put);
      };
      keep(key_C, page.key_scale + slot,
           [&](std::size_t c) -> Number& { return page.key[place<Number>(c, slot, page.slots)]; });
      keep(value_C, page.value_scale + slot,
           [&](std::size_t c) -> Number& { return page.value[place<Number>(slot, c, width)]; });
    } else {
      for (std::size_t c = 0; c < C; ++c) {
        narrow(key_C[c], page.key + place<Number>(c, slot, page.slots));
        narrow(value_C[c], page.value + place<Number>(slot, c, width));
      }
    }
    if (C % kPair<Number>) page.key[place<Number>(C, slot, page.slots)] = 0;
  }

  // The tile at `start`, in place; or, when pages cut it, put together from first to before last.
  Tile<Number> tile(std::size_t start, std::size_t first, std::size_t last,
                    std::byte* scratch) const {
    const PageLayout& page = job.page;
    if (page.B % kTile == 0) return at(start, start % page.B);
    Tile<Number> whole = view(scratch, whole_, 0);
    for (std::size_t p = first; p < last; ++p) copy(at(p, 0), p % page.B, whole, p - start);
    return whole;
  }

  PageLayout whole_ = page_layout(job.page.format, kTile, job.page.C);

 private:
  void copy(const Tile<Number>& from, std::size_t slot, const Tile<Number>& to,
            std::size_t s) const {
    const std::size_t width = job.page.width;
    for (std::size_t c = 0; c < round_up(job.page.C, kPair<Number>); ++c) {
      to.key[place<Number>(c, s, to.slots)] = from.key[place<Number>(c, slot, from.slots)];
    }
    for (std::size_t c = 0; c < job.page.C; ++c) {
      to.value[place<Number>(s, c, width)] = from.value[place<Number>(slot, c, width)];
    }
    if constexpr (kIsWhole<Number>) {
      to.key_scale[s] = from.key_scale[slot];
      to.value_scale[s] = from.value_scale[slot];
    }
  }
};

}  // namespace ossia::OSSIA_ISA
