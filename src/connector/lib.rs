//! What a connector manifest may say, and the engine that obeys it
