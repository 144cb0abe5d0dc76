"""What tests stand on: throwaway servers, fixtures, waiting for conditions."""
