// Attention with sinks over paged keys.
//
// Version 1: keys lie transposed in their page, so a vector holds one channel of W keys and no
//   score needs a sum across lanes. Keys are visited in tiles of 64 by absolute position, with a
//   running softmax: what a query gets depends neither on how the prompt was cut, nor on pages.
// Version 2: a tile serves 16 tokens before the next one is touched: it stays in the cache.
// Version 3: numbers are stored in pairs, widened by a shift or a mask, and 4 x 2 sums stay in
//   registers: one core of Zen 3 multiplies 35 GMAC/s, of 44 that it could.
// Version 4: spans of 1,024 keys are summed each for itself and merged in order, so that a single
//   token is work for many threads; lines are asked for ahead: 6.9 GB/s a core from memory.
// Version 5: int8 keys and values; the query and the weights are rounded to 16 bits, and products
//   are whole numbers: 40 GMAC/s a core.
#include "declare.h"
#include "isa/exp.h"
#include "past.h"

namespace ossia::OSSIA_ISA {
namespace {

// out[r][j] = out[r][j] * shrink[r] + (sum of products) * unit[r]. Without `shrink`, out is new.
struct Blend {
  const float *shrink, *unit;
};

// A line of memory that is needed soon, then the next one: asked for while sums go on.
struct Ahead {
  const char* line;
  std::size_t step;

  void fetch() {
    __builtin_prefetch(line, 0, 2);
    line += step;
  }
};

// Memory that is needed soon.
struct Soon {
  const void* first;
  std::size_t bytes;

  // The i-th of n parts, in `rounds` rounds; without end, when there are rounds to spare.
  Ahead part(std::size_t i, std::size_t n, std::size_t rounds) const {
    const std::size_t step = round_up((bytes + n * rounds - 1) / (n * rounds), 64);
    const auto* line = static_cast<const char*>(first) + i * rounds * step;
    return i * rounds * step < bytes ? Ahead{line, step}
                                     : Ahead{static_cast<const char*>(first), 0};
  }
};

template <std::size_t R, std::size_t V, class Add>
inline void each_sum(const Add& add) {
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t v = 0; v < V; ++v) add(r, v);
  }
}

// Rows first to before last of `right`, for R rows of `left` and V vectors of columns. `right`
// begins at the first of these columns.
template <std::size_t R, std::size_t V, class Number>
[[gnu::noinline]] void accumulate(const float* left, std::size_t left_step, const Number* right,
                                  std::size_t columns, Range range, const Blend& blend, float* out,
                                  std::size_t out_step, Ahead ahead) {
  Vec sum[R][V];
  each_sum<R, V>([&](auto r, auto v) {
    sum[r][v] =
        blend.shrink ? mul(load(out + r * out_step + v * W), set1(blend.shrink[r])) : set1(0.0f);
  });
  const auto add_row = [&](const float* column, const auto& read) {
    Vec row[V];
    for (std::size_t v = 0; v < V; ++v) row[v] = read(right + kPair<Number> * v * W);
    for (std::size_t r = 0; r < R; ++r) {
      const Vec factor = set1(column[r * left_step]);
      for (std::size_t v = 0; v < V; ++v) sum[r][v] = fma(factor, row[v], sum[r][v]);
    }
  };
  std::size_t i = range.first;
  right += place<Number>(i, 0, columns);
  if constexpr (kPair<Number> == 2) {
    const auto even = [](const Number* pair) { return load_even(pair); };
    const auto odd = [](const Number* pair) { return load_odd(pair); };
    if (i % 2) {
      right -= 1;
      add_row(left + i++, odd);
      right += 2 * columns;
    }
    for (; i + 2 <= range.last; i += 2) {
      ahead.fetch();
      add_row(left + i, even);
      add_row(left + i + 1, odd);
      right += 2 * columns;
    }
    if (i < range.last) add_row(left + i, even);
  } else {
    for (; i < range.last; ++i) {
      ahead.fetch();
      add_row(left + i, [](const Number* x) { return load(x); });
      right += columns;
    }
  }
  each_sum<R, V>([&](auto r, auto v) { store(out + r * out_step + v * W, sum[r][v]); });
}

// The same in whole numbers: pairs of which one is outside the range have a 0 there on the left.
template <std::size_t R, std::size_t V>
[[gnu::noinline]] void accumulate(const std::int16_t* left, std::size_t left_step,
                                  const std::int8_t* right, std::size_t columns, Range range,
                                  const Blend& blend, float* out, std::size_t out_step,
                                  Ahead ahead) {
  Whole sum[R][V];
  each_sum<R, V>([&](auto r, auto v) { sum[r][v] = whole_zero(); });
  left += range.first / 2 * 2;
  right += range.first / 2 * 2 * columns;
  std::size_t pairs = (range.last + 1) / 2 - range.first / 2;
  do {  // a range holds at least one
    ahead.fetch();
    Whole row[V];
    for (std::size_t v = 0; v < V; ++v) row[v] = load_pairs(right + 2 * v * W);
    for (std::size_t r = 0; r < R; ++r) {
      const Whole factor = set_pair(left + r * left_step);
      for (std::size_t v = 0; v < V; ++v) sum[r][v] = add_products(factor, row[v], sum[r][v]);
    }
    left += 2;
    right += 2 * columns;
  } while (--pairs > 0);
  each_sum<R, V>([&](auto r, auto v) {
    float* to = out + r * out_step + v * W;
    const Vec found = mul(floats(sum[r][v]), set1(blend.unit[r]));
    store(to, blend.shrink ? fma(load(to), set1(blend.shrink[r]), found) : found);
  });
}

template <std::size_t R, class Left, class Number>
inline void accumulate_rows(std::size_t rows, const Left* left, std::size_t left_step,
                            const Number* right, std::size_t columns, Range range, Blend blend,
                            float* out, std::size_t out_step, Ahead ahead) {
  std::size_t r = 0;
  for (; r + R <= rows; r += R) {
    const Blend own{blend.shrink ? blend.shrink + r : nullptr,
                    blend.unit ? blend.unit + r : nullptr};
    accumulate<R, 2>(left + r * left_step, left_step, right, columns, range, own,
                     out + r * out_step, out_step, ahead);
    ahead.step = 0;  // once is enough
  }
  if constexpr (R > 1) {
    if (r == rows) return;
    const Blend own{blend.shrink ? blend.shrink + r : nullptr,
                    blend.unit ? blend.unit + r : nullptr};
    accumulate_rows<R / 2>(rows - r, left + r * left_step, left_step, right, columns, range, own,
                           out + r * out_step, out_step, ahead);
  }
}

// out [rows][used columns] of left [rows][range] and right [range][columns].
template <class Left, class Number>
inline void multiply(std::size_t rows, const Left* left, std::size_t left_step, const Number* right,
                     std::size_t columns, Range range, const Blend& blend, float* out,
                     std::size_t used, const Soon& soon) {
  const std::size_t rounds = round_up(range.last - range.first, kPair<Number>) / kPair<Number>;
  for (std::size_t j = 0; j < used; j += 2 * W) {
    accumulate_rows<kMostRows>(rows, left, left_step, right + j * kPair<Number>, columns, range,
                               blend, out + j, used,
                               soon.part(j / (2 * W), used / (2 * W), rounds));
  }
}

// Rows of a softmax from row r on.
Softmax from(const Softmax& all, std::size_t r, std::size_t width) {
  return {all.top + r, all.mass + r, all.mixed + r * width};
}

// The sums of two sets of keys, as those of both together.
void merge(const Softmax& sum, const Softmax& part, std::size_t rows, std::size_t width) {
  for (std::size_t r = 0; r < rows; ++r) {
    const float top = sum.top[r] > part.top[r] ? sum.top[r] : part.top[r];
    float lanes[2][W];
    store(lanes[0], exp(sub(set1(sum.top[r]), set1(top))));
    store(lanes[1], exp(sub(set1(part.top[r]), set1(top))));
    const float mine = lanes[0][0], other = lanes[1][0];
    sum.top[r] = top;
    sum.mass[r] = fma(part.mass[r], other, sum.mass[r] * mine);
    float *mixed = sum.mixed + r * width, *more = part.mixed + r * width;
    for (std::size_t c = 0; c < width; c += W) {
      store(mixed + c, fma(load(more + c), set1(other), mul(load(mixed + c), set1(mine))));
    }
  }
}

// Some tokens of a sequence, from position `first` to before `last`, and one key/value head.
struct Unit {
  std::size_t k, first, last;
  std::ptrdiff_t offset;  // position p is token `offset + p`
};

template <class Number>
class Look {
 public:
  Look(const Past<Number>& past, const Unit& unit, const AttendScratch& scratch)
      : past_(past), job_(past.job), unit_(unit), scratch_(scratch), desk_(scratch.desk) {}

  std::size_t first_span(std::size_t p) const { return oldest(p) / kSpan; }

  // Every span in turn, merged at once.
  void all() {
    take_queries();
    begin();
    for (std::size_t s = first_span(unit_.first); s * kSpan < unit_.last; ++s) {
      see(s);
      for (std::size_t p = unit_.first; p < unit_.last; ++p) {
        if (sees(p, s)) merge(of(desk_.sum, p), of(desk_.span, p), G, width);
      }
    }
    end();
  }

  // One span, kept to be merged later.
  void one(std::size_t s) {
    take_queries();
    see(s);
    for (std::size_t p = unit_.first; p < unit_.last; ++p) {
      if (!sees(p, s)) continue;
      const Softmax from = of(desk_.span, p), to = part(p, s);
      for (std::size_t g = 0; g < G; ++g) {
        to.top[g] = from.top[g];
        to.mass[g] = from.mass[g];
      }
      for (std::size_t i = 0; i < G * width; ++i) to.mixed[i] = from.mixed[i];
    }
  }

  // What `one` kept.
  void together() {
    begin();
    for (std::size_t p = unit_.first; p < unit_.last; ++p) {
      for (std::size_t s = first_span(p); s * kSpan <= p; ++s) {
        merge(of(desk_.sum, p), part(p, s), G, width);
      }
    }
    end();
  }

 private:
  std::size_t oldest(std::size_t p) const { return p + 1 > job_.window ? p + 1 - job_.window : 0; }
  bool sees(std::size_t p, std::size_t s) const { return s >= first_span(p) && s * kSpan <= p; }
  Softmax of(const Softmax& rows, std::size_t p) const {
    return from(rows, (p - unit_.first) * G, width);
  }
  Softmax part(std::size_t p, std::size_t s) const {
    const std::size_t token = p + unit_.offset;
    const std::size_t place = token * job_.plan.spans + s - first_span(p);
    return from(scratch_.part, (place * job_.K + unit_.k) * G, width);
  }

  // The queries, in the order and form that products want.
  void take_queries() {
    const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(job_.page.C));
    const std::size_t C = job_.page.C, E = job_.K * G * C;
    for (std::size_t r = 0; r < (unit_.last - unit_.first) * G; ++r) {
      const std::size_t token = unit_.first + unit_.offset + r / G;
      const float* query = job_.query_TE + token * E + (unit_.k * G + r % G) * C;
      float* to = desk_.query + r * channels;
      for (std::size_t c = 0; c < channels; ++c) to[c] = c < C ? query[c] * scale : 0;
      if constexpr (kIsWhole<Number>) {
        const float top = largest_size(to, channels);
        desk_.query_unit[r] = top / 32767;
        round_all(to, channels, top > kNothing ? 32767 / top : 0,
                  [&](std::size_t c, auto whole) { desk_.whole_query[r * channels + c] = whole; });
      }
    }
  }

  // The sink is a key with a score and no value.
  void begin() {
    for (std::size_t r = 0; r < (unit_.last - unit_.first) * G; ++r) {
      desk_.sum.top[r] = job_.sink_KG[unit_.k * G + r % G];
      desk_.sum.mass[r] = 1;
      for (std::size_t c = 0; c < width; ++c) desk_.sum.mixed[r * width + c] = 0;
    }
  }
  void end() {
    const std::size_t C = job_.page.C;
    for (std::size_t r = 0; r < (unit_.last - unit_.first) * G; ++r) {
      const std::size_t token = unit_.first + unit_.offset + r / G;
      float* to = job_.attention_TE + ((token * job_.K + unit_.k) * G + r % G) * C;
      for (std::size_t c = 0; c < C; ++c) {
        to[c] = desk_.sum.mixed[r * width + c] / desk_.sum.mass[r];
      }
    }
  }

  // Sums of span s in desk.span, for the tokens that see any of it.
  void see(std::size_t s) {
    for (std::size_t r = 0; r < (unit_.last - unit_.first) * G; ++r) {
      desk_.span.top[r] = -__builtin_inff();
      desk_.span.mass[r] = 0;
      for (std::size_t c = 0; c < width; ++c) desk_.span.mixed[r * width + c] = 0;
    }
    const std::size_t oldest_tile = oldest(unit_.first) / kTile * kTile;
    const std::size_t first = oldest_tile > s * kSpan ? oldest_tile : s * kSpan;
    const std::size_t last = least(unit_.last, (s + 1) * kSpan);
    for (std::size_t start = first; start < last; start += kTile) {
      const std::size_t begin = oldest(unit_.first), end = least(last, start + kTile);
      const Tile<Number> tile = past_.tile(start, begin > start ? begin : start, end, desk_.tile);
      const bool goes_on = job_.page.B == kTile && start + kTile < last;
      const Number* next = goes_on ? past_.at(start + kTile, 0).key : nullptr;
      // tokens that see any of the tile stand together
      const std::size_t before = least(unit_.last, start + kTile - 1 + job_.window);
      const std::size_t step = kRowsAtOnce < G ? 1 : kRowsAtOnce / G;
      for (std::size_t p = start > unit_.first ? start : unit_.first; p < before; p += step) {
        look(tile, start, p, least(before, p + step), next);
      }
    }
  }

  // Tokens p to before q look at one tile.
  void look(const Tile<Number>& tile, std::size_t start, std::size_t p, std::size_t q,
            const Number* next) {
    const std::size_t rows = (q - p) * G, row = (p - unit_.first) * G;
    const Range every{0, round_up(job_.page.C, 2)};
    const Soon values{tile.value, kTile * width * sizeof(Number)};
    const Soon keys{next ? next : tile.key, next ? job_.page.C * kTile * sizeof(Number) : 0};
    if constexpr (kIsWhole<Number>) {
      multiply(rows, desk_.whole_query + row * channels, channels, tile.key, tile.slots, every,
               Blend{nullptr, desk_.query_unit + row}, desk_.score, kTile, values);
    } else {
      multiply(rows, desk_.query + row * channels, channels, tile.key, tile.slots, every,
               Blend{nullptr, nullptr}, desk_.score, kTile, values);
    }
    for (std::size_t r = 0; r < rows; ++r) weigh(tile, seen(start, p + r / G), row + r, r);
    rescale(row, rows);
    const Range first = seen(start, p), last = seen(start, q - 1);
    if (first.first == last.first && first.last == last.last) {
      return mix(tile, first, row, 0, rows, keys);
    }
    for (std::size_t r = 0; r < rows; r += G) {
      mix(tile, seen(start, p + r / G), row + r, r, G, keys);
    }
  }

  // Adds the weighted values of a range of slots to `rows` rows that see just these.
  void mix(const Tile<Number>& tile, Range range, std::size_t row, std::size_t r, std::size_t rows,
           const Soon& soon) {
    const Blend blend{desk_.shrink + r, desk_.weight_unit + r};
    float* mixed = desk_.span.mixed + row * width;
    if constexpr (kIsWhole<Number>) {
      multiply(rows, desk_.whole_weight + r * kTile, kTile, tile.value, width, range, blend, mixed,
               width, soon);
    } else {
      multiply(rows, desk_.score + r * kTile, kTile, tile.value, width, range, blend, mixed, width,
               soon);
    }
  }

  // Which slots of the tile at `start` the token at p sees.
  Range seen(std::size_t start, std::size_t p) const {
    return {oldest(p) > start ? oldest(p) - start : 0, least(p + 1 - start, kTile)};
  }

  // Scores of one row -> weights relative to its new top; what was summed before shrinks to it.
  void weigh(const Tile<Number>& tile, Range seen, std::size_t row, std::size_t r) {
    float* score = desk_.score + r * kTile;
    if constexpr (kIsWhole<Number>) {
      for (std::size_t s = 0; s < kTile; s += W) {
        store(score + s, mul(load(score + s), load(tile.key_scale + s)));
      }
    }
    for (std::size_t s = 0; s < seen.first; ++s) score[s] = -__builtin_inff();
    for (std::size_t s = seen.last; s < kTile; ++s) score[s] = -__builtin_inff();
    Vec tops = set1(desk_.span.top[row]);
    for (std::size_t s = 0; s < kTile; s += W) tops = max(tops, load(score + s));
    const float top = largest(tops);
    Vec masses = set1(0.0f);
    for (std::size_t s = 0; s < kTile; s += W) {
      const Vec weight = exp_down(sub(load(score + s), set1(top)));
      store(score + s, weight);
      masses = add(masses, weight);
    }
    desk_.mass[r] = sum(masses);
    desk_.top[r] = top;
    if constexpr (kIsWhole<Number>) round_weights(tile, seen, r);
  }

  // What rows have summed is brought down to their new tops; the weighted values follow later.
  void rescale(std::size_t row, std::size_t rows) {
    for (std::size_t r = 0; r < rows; r += W) {
      float lanes[3][W];
      for (std::size_t i = 0; i < W; ++i) {
        const std::size_t own = row + least(r + i, rows - 1);
        lanes[0][i] = desk_.span.top[own];
        lanes[1][i] = desk_.span.mass[own];
      }
      const Vec shrink = exp_down(sub(load(lanes[0]), load(desk_.top + r)));
      store(lanes[0], shrink);
      store(lanes[1], fma(load(lanes[1]), shrink, load(desk_.mass + r)));
      for (std::size_t i = 0; i < W && r + i < rows; ++i) {
        desk_.shrink[r + i] = lanes[0][i];
        desk_.span.mass[row + r + i] = lanes[1][i];
        desk_.span.top[row + r + i] = desk_.top[r + i];
      }
    }
  }

  // weight times the scale of its value, in 16 bits.
  void round_weights(const Tile<Number>& tile, Range seen, std::size_t r) {
    float* weight = desk_.score + r * kTile;
    std::int16_t* whole = desk_.whole_weight + r * kTile;
    for (std::size_t s = 0; s < kTile; s += W) {
      store(weight + s, mul(load(weight + s), load(tile.value_scale + s)));
    }
    for (std::size_t s = 0; s < seen.first; ++s) weight[s] = 0;
    for (std::size_t s = seen.last; s < kTile; ++s) weight[s] = 0;
    const float top = largest_size(weight, kTile);
    desk_.weight_unit[r] = top / 32767;
    const Vec step = set1(top > kNothing ? 32767 / top : 0);
    for (std::size_t s = 0; s < kTile; s += W)
      store_rounded(whole + s, mul(load(weight + s), step));
  }

  const Past<Number>& past_;
  const Attend& job_;
  const Unit unit_;
  const AttendScratch& scratch_;
  const Desk& desk_;
  const std::size_t G = job_.G, width = job_.page.width;
  const std::size_t channels = round_up(job_.page.C, 16);
};

// As many tokens at once as the pages can store without losing what the first of them still sees.
std::size_t chunk(const Attend& job, std::size_t last) {
  const std::size_t room = job.P * job.page.B;
  return room >= last ? last : room - job.window + 1;
}

// Calls visit(past, unit) for each head of the sequences that still have tokens in this round, in
// units of `together` tokens; says whether any had.
template <class Number, class Visit>
bool each_unit(const Attend& job, std::size_t round, std::size_t together, const Visit& visit) {
  bool any = false;
  for (std::size_t q = 0; q < job.Q; ++q) {
    const auto begun = static_cast<std::size_t>(job.past_Q[q]);
    const std::size_t end = begun + static_cast<std::size_t>(job.count_Q[q]);
    const std::size_t step = chunk(job, end);
    const std::size_t first = begun + round * step, last = least(end, first + step);
    if (first >= end) continue;
    any = true;
    const auto offset =
        static_cast<std::ptrdiff_t>(job.first_Q[q]) - static_cast<std::ptrdiff_t>(begun);
    for (std::size_t k = 0; k < job.K; ++k) {
      const Past<Number> past{job, job.page_QP + q * job.P, k};
      for (std::size_t p = first; p < last; p += together) {
        visit(past, Unit{k, p, least(last, p + together), offset});
      }
    }
  }
  return any;
}

template <class Number>
void attend_pages(const Attend& job, const Team& team) {
  const AttendScratch scratch = attend_scratch(job, team.count, team.index);
  const std::size_t C = job.page.C, X = job.K * C;
  // Who is free takes the next piece of work; all count the pieces alike.
  const auto take = [&] { return __atomic_fetch_add(scratch.turn, 1, __ATOMIC_RELAXED); };
  std::uint32_t turn = 0, mine = take();
  const auto is_mine = [&] {
    if (turn++ != mine) return false;
    mine = take();
    return true;
  };

  for (std::size_t round = 0;; ++round) {
    const auto write = [&](const auto& past, const Unit& unit) {
      if (!is_mine()) return;
      for (std::size_t p = unit.first; p < unit.last; ++p) {
        const std::size_t place = (p + unit.offset) * X + unit.k * C;
        past.write(p, job.key_TX + place, job.value_TX + place);
      }
    };
    if (!each_unit<Number>(job, round, kSpan, write)) return;
    team.meet();
    each_unit<Number>(job, round, kTogether, [&](const auto& past, const Unit& unit) {
      Look<Number> look(past, unit, scratch);
      if (!job.plan.is_split) {
        if (is_mine()) look.all();
        return;
      }
      for (std::size_t s = look.first_span(unit.first); s * kSpan < unit.last; ++s) {
        if (is_mine()) look.one(s);
      }
    });
    team.meet();
    if (!job.plan.is_split) continue;
    each_unit<Number>(job, round, kTogether, [&](const auto& past, const Unit& unit) {
      if (is_mine()) Look<Number>(past, unit, scratch).together();
    });
    team.meet();
  }
}

}  // namespace

void attend(const Attend& job, const Team& team) {
  switch (job.page.format) {
    case PageFormat::f32:
      return attend_pages<float>(job, team);
    case PageFormat::bf16:
      return attend_pages<bf16>(job, team);
    case PageFormat::int8:
      return attend_pages<std::int8_t>(job, team);
  }
}

}  // namespace ossia::OSSIA_ISA
