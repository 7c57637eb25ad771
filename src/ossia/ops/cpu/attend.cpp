// Attention with sinks over paged keys.
//
// Version 1: keys lie transposed in their page ([C][B]), so a vector holds one channel of W keys
//   and no score needs a sum across lanes; the query heads of one key head share what is loaded.
//   Keys are visited in tiles of 64 by absolute position, with a running softmax that starts from
//   the sink: what a query gets depends neither on how the prompt was cut, nor on the page size.
// Version 2: a tile serves 16 tokens before the next one is touched: it stays in the cache.
#include "declare.h"
#include "isa/exp.h"

namespace ossia::OSSIA_ISA {
namespace {

constexpr std::size_t kTile = 64;               // keys
constexpr std::size_t kTogether = 16;           // tokens
constexpr std::size_t kScoreStep = kTile + 16;  // a vector may reach beyond the tile
static_assert(kScoreStep + 2 * kTogether == kAttendScratch);

// One key/value head of one sequence: where its keys and values lie.
template <class Float>
struct Past {
  const Attend& job;
  const std::int32_t* page_P;
  std::size_t k;

  std::size_t slot(std::size_t position) const { return position % job.B; }
  std::size_t page(std::size_t position) const {
    return static_cast<std::size_t>(page_P[position / job.B % job.P]) * job.K + k;
  }
  Float* key(std::size_t position) const {  // channels are B apart
    return static_cast<Float*>(job.key_PKCB) + page(position) * job.C * job.B + slot(position);
  }
  Float* value(std::size_t position) const {
    return static_cast<Float*>(job.value_PKBC) + (page(position) * job.B + slot(position)) * job.C;
  }
  // How many of the positions from `first` to before `last` lie side by side.
  std::size_t run(std::size_t first, std::size_t last) const {
    return least(last - first, job.B - slot(first));
  }

  void write(std::size_t position, const float* key_C, const float* value_C) const {
    Float *to_key = key(position), *to_value = value(position);
    for (std::size_t c = 0; c < job.C; ++c) {
      narrow(key_C[c], to_key + c * job.B);
      narrow(value_C[c], to_value + c);
    }
  }
};

// out[r][j] = start(r, j) + sum over i, ascending, of left[r*left_step + i] * right[i*right_step +
// j] for R rows and V vectors of j.
template <std::size_t R, std::size_t V, class Float>
inline void accumulate(const float* left, std::size_t left_step, const Float* right,
                       std::size_t right_step, std::size_t n, float* out, std::size_t out_step) {
  Vec sum[R][V];
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t v = 0; v < V; ++v) sum[r][v] = load(out + r * out_step + v * W);
  }
  for (std::size_t i = 0; i < n; ++i) {
    Vec row[V];
    for (std::size_t v = 0; v < V; ++v) row[v] = load(right + i * right_step + v * W);
    for (std::size_t r = 0; r < R; ++r) {
      const Vec factor = set1(left[r * left_step + i]);
      for (std::size_t v = 0; v < V; ++v) sum[r][v] = fma(factor, row[v], sum[r][v]);
    }
  }
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t v = 0; v < V; ++v) store(out + r * out_step + v * W, sum[r][v]);
  }
}

// The same for `width` columns, of which `readable` may be read and written.
template <std::size_t R, class Float>
inline void accumulate_rows(const float* left, std::size_t left_step, const Float* right,
                            std::size_t right_step, std::size_t n, float* out, std::size_t out_step,
                            std::size_t width, std::size_t readable) {
  const std::size_t whole = round_up(width, W) <= readable ? round_up(width, W) : width / W * W;
  std::size_t j = 0;
  for (; j + 2 * W <= whole; j += 2 * W) {
    accumulate<R, 2>(left, left_step, right + j, right_step, n, out + j, out_step);
  }
  if (j < whole) {
    accumulate<R, 1>(left, left_step, right + j, right_step, n, out + j, out_step);
    j += W;
  }
  for (; j < width; ++j) {
    for (std::size_t r = 0; r < R; ++r) {
      float sum = out[r * out_step + j];
      for (std::size_t i = 0; i < n; ++i) {
        sum = fma(left[r * left_step + i], widen(right[i * right_step + j]), sum);
      }
      out[r * out_step + j] = sum;
    }
  }
}

template <class Float>
inline void accumulate_heads(std::size_t G, const float* left, std::size_t left_step,
                             const Float* right, std::size_t right_step, std::size_t n, float* out,
                             std::size_t out_step, std::size_t width, std::size_t readable) {
  std::size_t g = 0;
  for (; g + 4 <= G; g += 4) {
    accumulate_rows<4>(left + g * left_step, left_step, right, right_step, n, out + g * out_step,
                       out_step, width, readable);
  }
  for (; g < G; ++g) {
    accumulate_rows<1>(left + g * left_step, left_step, right, right_step, n, out + g * out_step,
                       out_step, width, readable);
  }
}

// The running softmax of one token's query heads: the largest score so far, and the sum of weights
// relative to it. Weighted values are summed in the output itself.
struct Running {
  float *top_G, *mass_G, *mixed_GC;
};

// score[g][s] -> weights relative to the new top; what was summed before is brought down to it.
void reweigh(float* score_GS, std::size_t G, std::size_t C, const Running& running) {
  for (std::size_t g = 0; g < G; ++g) {
    float* score = score_GS + g * kScoreStep;
    Vec tops = set1(running.top_G[g]);
    for (std::size_t s = 0; s < kTile; s += W) tops = max(tops, load(score + s));
    const Vec top = set1(largest(tops));
    Vec masses = set1(0.0f);
    for (std::size_t s = 0; s < kTile; s += W) {
      const Vec weight = exp(sub(load(score + s), top));
      store(score + s, weight);
      masses = add(masses, weight);
    }
    const Vec shrink = exp(sub(set1(running.top_G[g]), top));
    float lanes[2][W];
    store(lanes[0], shrink);
    store(lanes[1], top);
    running.mass_G[g] = fma(running.mass_G[g], lanes[0][0], sum(masses));
    running.top_G[g] = lanes[1][0];
    float* mixed = running.mixed_GC + g * C;
    for (std::size_t c = 0; c < C; ++c) mixed[c] *= lanes[0][0];
  }
}

// Lets one token's query heads look at positions first to before last of the tile at `start`.
template <class Float>
void look(const Past<Float>& past, const float* query_GC, std::size_t start, std::size_t first,
          std::size_t last, float scale, float* score_GS, const Running& running) {
  const std::size_t G = past.job.G, C = past.job.C, B = past.job.B;
  for (std::size_t i = 0; i < G * kScoreStep; ++i) score_GS[i] = 0;
  for (std::size_t p = first; p < last; p += past.run(p, last)) {
    accumulate_heads(G, query_GC, C, past.key(p), B, C, score_GS + (p - start), kScoreStep,
                     past.run(p, last), B - past.slot(p));
  }
  for (std::size_t g = 0; g < G; ++g) {
    float* score = score_GS + g * kScoreStep - start;
    for (std::size_t p = start; p < first; ++p) score[p] = -__builtin_inff();
    for (std::size_t p = first; p < last; ++p) score[p] *= scale;
    for (std::size_t p = last; p < start + kTile; ++p) score[p] = -__builtin_inff();
  }
  reweigh(score_GS, G, C, running);
  for (std::size_t p = first; p < last; p += past.run(p, last)) {
    accumulate_heads(G, score_GS + (p - start), kScoreStep, past.value(p), C, past.run(p, last),
                     running.mixed_GC, C, C, C);
  }
}

// Positions first to before last of a sequence whose position p is token `offset + p`.
template <class Float>
void attend_together(const Past<Float>& past, std::size_t first, std::size_t last,
                     std::ptrdiff_t offset, float* scratch) {
  const Attend& job = past.job;
  const std::size_t G = job.G, C = job.C, E = job.K * G * C;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(C));
  float* score_GS = scratch;
  const auto running = [&](std::size_t p) {
    float* own = scratch + G * (kScoreStep + 2 * (p - first));
    return Running{own, own + G, job.mixed_TE + (p + offset) * E + past.k * G * C};
  };
  const auto oldest = [&](std::size_t p) { return p + 1 > job.window ? p + 1 - job.window : 0; };

  for (std::size_t p = first; p < last; ++p) {
    const Running own = running(p);
    for (std::size_t g = 0; g < G; ++g) {
      own.top_G[g] = job.sink_KG[past.k * G + g];  // the sink: a key with a score and no value
      own.mass_G[g] = 1;
    }
    for (std::size_t i = 0; i < G * C; ++i) own.mixed_GC[i] = 0;
  }
  for (std::size_t start = oldest(first) / kTile * kTile; start < last; start += kTile) {
    for (std::size_t p = first; p < last; ++p) {
      const std::size_t from = oldest(p) > start ? oldest(p) : start;
      const std::size_t to = least(p + 1, start + kTile);
      if (from >= to) continue;
      const float* query = job.query_TE + (p + offset) * E + past.k * G * C;
      look(past, query, start, from, to, scale, score_GS, running(p));
    }
  }
  for (std::size_t p = first; p < last; ++p) {
    const Running own = running(p);
    for (std::size_t i = 0; i < G * C; ++i) own.mixed_GC[i] /= own.mass_G[i / C];
  }
}

// As many tokens at once as a ring can store without losing what the first of them still sees.
std::size_t chunk(const Attend& job, std::size_t last) {
  const std::size_t room = job.P * job.B;
  return room >= last ? last : room - job.window + 1;
}

// Calls visit(sequence, first position, last position, token of position 0) for the sequences that
// still have tokens in this round; says whether any had.
template <class Visit>
bool each_chunk(const Attend& job, std::size_t round, const Visit& visit) {
  bool any = false;
  for (std::size_t q = 0; q < job.Q; ++q) {
    const auto past = static_cast<std::size_t>(job.past_Q[q]);
    const std::size_t end = past + static_cast<std::size_t>(job.count_Q[q]);
    const std::size_t step = chunk(job, end);
    const std::size_t first = past + round * step;
    if (first >= end) continue;
    any = true;
    visit(q, first, least(end, first + step),
          static_cast<std::ptrdiff_t>(job.first_Q[q]) - static_cast<std::ptrdiff_t>(past));
  }
  return any;
}

template <class Float>
void attend_pages(const Attend& job, const Team& team) {
  const std::size_t C = job.C, X = job.K * C;
  float* scratch = job.scratch + team.index * job.G * kAttendScratch;
  const auto past = [&](std::size_t q, std::size_t k) {
    return Past<Float>{job, job.page_QP + q * job.P, k};
  };
  std::size_t turn = 0;
  const auto is_mine = [&] { return turn++ % team.count == team.index; };

  for (std::size_t round = 0;; ++round) {
    const bool any = each_chunk(job, round, [&](auto q, auto first, auto last, auto offset) {
      for (std::size_t k = 0; k < job.K; ++k) {
        if (!is_mine()) continue;
        for (std::size_t p = first; p < last; ++p) {
          const std::size_t place = (p + offset) * X + k * C;
          past(q, k).write(p, job.key_TX + place, job.value_TX + place);
        }
      }
    });
    if (!any) return;
    team.meet();
    each_chunk(job, round, [&](auto q, auto first, auto last, auto offset) {
      for (std::size_t k = 0; k < job.K; ++k) {
        for (std::size_t p = first; p < last; p += kTogether) {
          if (!is_mine()) continue;
          attend_together(past(q, k), p, least(last, p + kTogether), offset, scratch);
        }
      }
    });
    team.meet();
  }
}

}  // namespace

void attend(const Attend& job, const Team& team) {
  if (job.page_format == Format::bf16) return attend_pages<bf16>(job, team);
  attend_pages<float>(job, team);
}

}  // namespace ossia::OSSIA_ISA
