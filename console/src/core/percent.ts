// Shares in percent, cut and never rounded up: 99.96 % is shown as 99.9 %, and 100 % means all.

export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return "–";
  // The smallest error of a binary fraction would make 0.966 into 96.5 %.
  const tenths = share >= 1 ? 1000 : Math.min(999, Math.floor(share * 1000 + 1e-6));
  return `${(tenths / 10).toFixed(1)} %`;
}
