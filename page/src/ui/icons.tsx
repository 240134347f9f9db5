// All icons, drawn on a grid of 20 with lines of 1.5.
import type { ComponentChildren } from "preact";

const PATHS = {
  select: <path d="M5 3.5v12l3.2-3 2 4.2 2-.9-2-4.1 4.3-.4z" />,
  point: (
    <>
      <circle cx="10" cy="10" r="2" fill="currentColor" stroke="none" />
      <circle cx="10" cy="10" r="5.25" />
      <path d="M10 2.5v2.25M10 15.25v2.25M2.5 10h2.25M15.25 10h2.25" />
    </>
  ),
  box: (
    <>
      <path d="M4 7V4.5h2.5M13.5 4.5H16V7M16 13v2.5h-2.5M6.5 15.5H4V13" />
      <path d="M9 4.5h2M9 15.5h2M4 9v2M16 9v2" />
    </>
  ),
  brush: (
    <>
      <path d="M16.5 3.5c-3 1.2-6 4-7.3 6.8l1.9 1.9c2.8-1.3 5.2-5.7 5.4-8.7z" />
      <path d="M8.3 11.4c-1.9.1-2.6 1.3-2.8 2.6-.1 1-.7 1.7-1.8 2 2.5 1.2 6.5.7 6.6-2.5" />
    </>
  ),
  eraser: (
    <>
      <path d="m11.5 4 4.8 4.8-6.4 6.4H6.7l-3-3z" />
      <path d="m7.6 7.9 4.8 4.8M9 15.5h7.5" />
    </>
  ),
  everything: (
    <>
      <path d="M3.5 8.2c0-2.6 1.6-4.7 4-4.7s3.3 1.7 3.3 3.4-1.5 4.6-4 4.6-3.3-1.4-3.3-3.3z" />
      <path d="M13 4h3.5v3.5M16.5 10.5v4.2a1.8 1.8 0 0 1-1.8 1.8H10M7 14.5v2" />
      <circle cx="13.2" cy="11.2" r="2" />
    </>
  ),
  undo: <path d="M7 4 3.5 7.5 7 11M4 7.5h7.5a4.5 4.5 0 0 1 0 9H8" />,
  redo: <path d="m13 4 3.5 3.5L13 11M16 7.5H8.5a4.5 4.5 0 0 0 0 9H12" />,
  plus: <path d="M10 4.5v11M4.5 10h11" />,
  minus: <path d="M4.5 10h11" />,
  fit: <path d="M3.5 7.5v-4h4M12.5 3.5h4v4M16.5 12.5v4h-4M7.5 16.5h-4v-4" />,
  export: <path d="M10 3v9.5M6.2 9 10 12.7 13.8 9M3.5 13v3.5h13V13" />,
  open: (
    <>
      <path d="M3.5 5.5v9a1 1 0 0 0 1 1h11a1 1 0 0 0 1-1v-7a1 1 0 0 0-1-1H10L8.2 4.5H4.5a1 1 0 0 0-1 1z" />
      <path d="M10 9v4M8 11h4" />
    </>
  ),
  folder: <path d="M3.5 5.5v9a1 1 0 0 0 1 1h11a1 1 0 0 0 1-1v-7a1 1 0 0 0-1-1H10L8.2 4.5H4.5a1 1 0 0 0-1 1z" />,
  picture: (
    <>
      <rect x="3" y="4" width="14" height="12" rx="2" />
      <circle cx="7.2" cy="8" r="1.4" />
      <path d="m3.5 14.5 4-3.7 2.5 2.3 3-3.3 3.7 4" />
    </>
  ),
  sun: (
    <>
      <circle cx="10" cy="10" r="3" />
      <path d="M10 3v1.5M10 15.500V17M3 10h1.500M15.500 10H17M5 5l1.100 1.100M13.900 13.900 15 15M15 5l-1.100 1.100M6.100 13.900 5 15" />
    </>
  ),
  moon: <path d="M15.800 11.800A6.300 6.300 0 0 1 8.200 4.200a6.300 6.300 0 1 0 7.600 7.600z" />,
  help: (
    <>
      <circle cx="10" cy="10" r="7" />
      <path d="M8 8.200a2 2 0 1 1 2.800 1.900c-.6.3-.8.7-.8 1.400" />
      <circle cx="10" cy="13.800" r=".9" fill="currentColor" stroke="none" />
    </>
  ),
  eye: (
    <>
      <path d="M2.500 10S5 5 10 5s7.500 5 7.500 5-2.500 5-7.500 5-7.500-5-7.500-5z" />
      <circle cx="10" cy="10" r="2.200" />
    </>
  ),
  hidden: (
    <path d="M8 5.300A7 7 0 0 1 10 5c5 0 7.500 5 7.500 5a13 13 0 0 1-2 2.700M12.700 14.300A7 7 0 0 1 10 15c-5 0-7.500-5-7.500-5a13 13 0 0 1 3-3.600M3.500 3.500l13 13" />
  ),
  trash: (
    <path d="M4 5.500h12M8 5.500V4h4v1.500M5.500 5.500l.7 10.500h7.600l.7-10.500M8.500 8.500v4.500M11.500 8.500v4.500" />
  ),
  close: <path d="m5 5 10 10M15 5 5 15" />,
  check: <path d="m4 10.500 4 4 8-9" />,
  left: <path d="m12 4.500-5.500 5.500 5.500 5.500" />,
  right: <path d="m8 4.500 5.500 5.500L8 15.500" />,
  objects: (
    <>
      <rect x="3" y="3.500" width="5" height="5" rx="1.500" />
      <rect x="3" y="11.500" width="5" height="5" rx="1.500" />
      <path d="M11 6h6M11 14h6" />
    </>
  ),
  tab: (
    <>
      <rect x="2.500" y="4" width="15" height="12" rx="2" />
      <path d="M2.500 8h15" />
    </>
  ),
  server: (
    <>
      <rect x="3" y="3.500" width="14" height="5.500" rx="1.500" />
      <rect x="3" y="11" width="14" height="5.500" rx="1.500" />
      <path d="M6 6.200h.01M6 13.800h.01" stroke-width="2" />
    </>
  ),
  not: (
    <>
      <circle cx="10" cy="10" r="6.500" />
      <path d="M7 10h6" />
    </>
  ),
  paste: (
    <>
      <rect x="4.500" y="4" width="11" height="13" rx="1.500" />
      <path d="M7.500 4V3h5v2.500h-5V4" />
    </>
  ),
} satisfies Record<string, ComponentChildren>;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {PATHS[name]}
    </svg>
  );
}
