/** Ten hues of like weight, told apart in light and dark, and by most colour-blind people next to their neighbours. */
const HUES = [
  '#3d7eff',
  '#f08c2e',
  '#14a38b',
  '#c45bd0',
  '#e4576c',
  '#7da824',
  '#1ba5cf',
  '#c99a16',
  '#8a74f0',
  '#b3714a',
] as const

/** Return a cluster's colour: the same for the same id, wherever and whenever it is drawn. */
export function clusterColor(id: number): string {
  return HUES[(((id - 1) % HUES.length) + HUES.length) % HUES.length] ?? HUES[0]
}

export interface ChartTheme {
  text: string
  muted: string
  line: string
  surface: string
  predicted: string
}

export const LIGHT: ChartTheme = {
  text: '#17202e',
  muted: '#6b7688',
  line: '#e6e9ef',
  surface: '#ffffff',
  predicted: '#39455a',
}

export const DARK: ChartTheme = {
  text: '#e7ebf2',
  muted: '#8a96a9',
  line: '#242c3a',
  surface: '#1a2130',
  predicted: '#d4dbe6',
}
