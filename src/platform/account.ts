/** Who asks for something, and how much of it they may have at once. */
export interface Account {
  owner: string;
  limits: { seriesPerRequest: number; pointsPerRequest: number; horizon: number; storedSeries: number };
}
