// exp for any Vec, within 2 units in the last place; exactly 0 below -104, infinity above 88.73.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

// exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln(2)/2: seven terms leave 5e-9.
inline Vec exp(Vec x) {
  constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;  // n * high is exact
  const Vec magic = set1(12582912.0f);  // 1.5 * 2^23: adding and taking it away rounds
  x = max(set1(-104.0f), min(set1(89.0f), x));
  const Vec n = sub(add(mul(x, set1(1.44269504f)), magic), magic);
  const Vec r = fma(n, set1(-kLog2Low), fma(n, set1(-kLog2High), x));
  Vec series = set1(1.0f / 5040);
  constexpr float kTerms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  for (const float term : kTerms) series = fma(series, r, set1(term));
  const Vec part = sub(add(mul(n, set1(0.5f)), magic), magic);  // 2^n itself may not be a float
  return mul(mul(series, pow2(part)), pow2(sub(n, part)));
}

// The same for x <= 0, in fewer steps; exactly 0 below -87.7.
inline Vec exp_down(Vec x) {
  constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
  const Vec magic = set1(12582912.0f);
  x = max(set1(-88.0f), x);
  const Vec n = sub(add(mul(x, set1(1.44269504f)), magic), magic);
  const Vec r = fma(n, set1(-kLog2Low), fma(n, set1(-kLog2High), x));
  Vec series = set1(1.0f / 5040);
  constexpr float kTerms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  for (const float term : kTerms) series = fma(series, r, set1(term));
  return mul(series, pow2(n));  // -127 has no bits: 0
}

}  // namespace ossia::OSSIA_ISA
