// expect biome: format
export const   text = "double"
