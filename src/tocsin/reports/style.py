"""The style sheet inside a report: one page wide, light on paper, dark where that is liked."""

STYLE = """
:root { --page: #f6f7fb; --panel: #ffffff; --edge: #e2e5ef; --ink: #12172b; --soft: #5c6480;
  --ok: #0a7350; --warn: #92580a; --bad: #bd1b32; --unknown: #5c6480;
  --ok-wash: #e2f4ec; --warn-wash: #faeedb; --bad-wash: #fbe3e6; --unknown-wash: #eceef4; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #0b0f1e; --panel: #121a2d;
  --edge: #222c47; --ink: #eef1fb; --soft: #97a0bd; --ok: #45d49b; --warn: #f2af4d; --bad: #ff7d8a;
  --unknown: #97a0bd; --ok-wash: #143430; --warn-wash: #362c20; --bad-wash: #3d1d2f;
  --unknown-wash: #1d2439; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 14px/1.45 Inter, system-ui,
  -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0 0 8px; }
h3 { font-size: 13.5px; margin: 16px 0 6px; }
p { margin: 0 0 8px; max-width: 76ch; }
.brand { font-weight: 700; font-size: 13px; color: var(--soft); margin: 0 0 12px; }
.soft, small { color: var(--soft); }
.lead { font-size: 15.5px; margin-top: 10px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 20px; }
.tile { flex: 1 1 150px; margin: 0; padding: 11px 15px 12px; background: var(--panel);
  border: 1px solid var(--edge); border-radius: 11px; }
.tile dt { color: var(--soft); font-size: 12.5px; }
.tile dd { margin: 0; }
.tile .value { font-size: 21px; font-weight: 700; line-height: 1.3; }
.tile .note { color: var(--soft); font-size: 12.5px; }
section { background: var(--panel); border: 1px solid var(--edge); border-radius: 11px;
  padding: 15px 17px 14px; margin: 0 0 14px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: 6px 14px 6px 0; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--edge); }
tbody tr + tr > * { border-top: 1px solid var(--edge); }
tbody th { font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
td small, dd small { display: block; font-size: 11.5px; }
.why { white-space: normal; max-width: 24ch; margin-left: auto; }
.wide { min-width: 18em; }
.mark { display: block; margin: 3px 0 0 auto; }
.chart { display: block; width: 100%; height: auto; }
figure { margin: 14px 0 6px; }
figcaption { font-size: 13.5px; font-weight: 600; margin-bottom: 4px; }
.ok { color: var(--ok); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.unknown { color: var(--unknown); }
.chip { display: inline-block; border-radius: 99px; padding: 0 9px; line-height: 19px;
  font-size: 12px; white-space: nowrap; }
.chip.ok { background: var(--ok-wash); } .chip.warn { background: var(--warn-wash); }
.chip.bad { background: var(--bad-wash); } .chip.unknown { background: var(--unknown-wash); }
ul { margin: 0; padding-left: 18px; }
.manifest td { overflow-wrap: anywhere; font-family: ui-monospace, Menlo, Consolas,
  "DejaVu Sans Mono", monospace; font-size: 11.5px; }
.manifest th { font-weight: 500; color: var(--soft); white-space: nowrap; }
@page { size: A4; margin: 15mm 13mm 17mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 9px sans-serif;
    color: #5c6480; } }
@media print {
  body { background: #fff; font-size: 10px; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 18px; } h2 { font-size: 13px; } h3, figcaption { font-size: 11px; }
  table { font-size: 9px; } td small, dd small, .chip { font-size: 8px; }
  th, td { padding: 4px 9px 4px 0; }
  .manifest td { font-size: 7.5px; }
  .tile { padding: 7px 10px; border-radius: 7px; flex-basis: 100px; }
  .tile .value { font-size: 15px; }
  .tile dt, .tile .note { font-size: 8.5px; }
  section { border: 0; border-top: 1px solid #c9cede; border-radius: 0; padding: 10px 0 4px; }
  thead { display: table-header-group; }
  tr, figure, .tile { break-inside: avoid; } h2, h3, figcaption { break-after: avoid; }
  .scroll { overflow: visible; } .mark { width: 72px; }
}
"""
